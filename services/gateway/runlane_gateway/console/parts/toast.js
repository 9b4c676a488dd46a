// Short messages at the edge of the screen, read out by screen readers.

import { h } from "../core/dom.js";

const SECONDS = 6000;
const polite = h("div.toasts", { role: "status", "aria-live": "polite" });
const said = h("div.unseen", { role: "status", "aria-live": "polite" });

/** Put the regions into the page; they have to be there before they say anything. */
export function mountToasts() { document.body.append(polite, said); }

export function toast(text, { tone = "calm" } = {}) {
  const item = h(`div.toast.${tone}`, text);
  polite.append(item);
  setTimeout(() => item.remove(), SECONDS);
}

/** Only for screen readers: what others see happen. */
export function announce(text) { said.textContent = text; }

/** A button that copies a text. */
export const copier = (text, name) => h("button.plain", { "aria-label": name, onclick: () => copy(text) }, "Copy");

/** Copies a text and says so. */
export async function copy(text, what = "Copied") {
  try {
    await navigator.clipboard.writeText(text);
    toast(what);
  } catch {
    toast("The browser does not let this page copy. Select the text instead.", { tone: "bad" });
  }
}
