// <rl-time at="…">: a time in the organisation's zone; with `since`, how long ago, kept up to date.

import { put } from "../core/dom.js";
import { ago, moment } from "../core/format.js";
import { session } from "../core/session.js";
import { h } from "../core/dom.js";

const shown = new Set();
setInterval(() => { for (const element of shown) element.refresh(); }, 5000);

customElements.define("rl-time", class extends HTMLElement {
  static observedAttributes = ["at"];
  attributeChangedCallback() { this.refresh(); }
  connectedCallback() { if (this.hasAttribute("since")) shown.add(this); this.refresh(); }
  disconnectedCallback() { shown.delete(this); }
  refresh() {
    const at = this.getAttribute("at");
    put(this, this.hasAttribute("since") ? ago(at) : moment(at));
    if (at) this.title = `${moment(at)} ${session.zone}\n${at}`;
  }
});

/** A time; `since`: as how long ago. */
export const time = (at, { since = false } = {}) => h("rl-time", { at: at ?? "", since });
