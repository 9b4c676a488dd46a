// A modal dialog: the browser keeps the focus inside, closes it on Esc, and gives the focus back.

import { h, uid } from "../core/dom.js";

/** Shows a dialog; `body` and `actions` get `close(value)`. Resolves to that value, undefined when dismissed. */
export function dialog(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    const id = uid("dialog");
    let value;
    const close = (result) => { value = result; element.close(); };
    const element = h(`dialog${wide ? ".wide" : ""}`, { "aria-labelledby": id },
      h("header", h("h2", { id }, title),
        h("button.plain", { "aria-label": "Close", onclick: () => close() }, "✕")),
      build(close));
    const left = () => element.close();
    addEventListener("hashchange", left);
    element.addEventListener("close", () => { removeEventListener("hashchange", left); element.remove(); resolve(value); });
    element.addEventListener("click", (event) => { if (event.target === element) close(); });
    document.body.append(element);
    element.showModal();
  });
}
