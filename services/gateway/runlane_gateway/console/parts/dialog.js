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
        h("button.plain", { type: "button", "aria-label": "Close", onclick: () => close() }, "✕")),
      build(close));
    const left = () => element.close();
    addEventListener("hashchange", left);
    element.addEventListener("close", () => { removeEventListener("hashchange", left); element.remove(); resolve(value); });
    element.addEventListener("click", (event) => { if (event.target === element) close(); });
    document.body.append(element);
    element.showModal();
  });
}

/** Asks for a word on something: resolves to {reason} or undefined. `act` may refuse by raising; its words are shown. */
export function askReason({ title, text, label, verb, tone = "", required = false, act }) {
  return dialog(title, (close) => {
    const id = uid("reason");
    const reason = h("textarea", { id, rows: 3, maxlength: 1000, required });
    const problem = h("p.problem", { role: "alert" });
    const button = h(`button.button.${tone || "primary"}`, { type: "submit" }, verb);
    async function send(event) {
      event.preventDefault();
      button.disabled = true;
      try {
        close(await act(reason.value.trim() || null) ?? true);
      } catch (refused) {
        problem.textContent = refused.message;
        button.disabled = false;
      }
    }
    return h("form", { onsubmit: send }, text, h("div.field", h("label", { for: id }, label), reason), problem,
      h("footer", h("button.button", { type: "button", onclick: () => close() }, "Back"), button));
  });
}
