// Tabs whose choice is in the address (`?tab=`); arrow keys move between them.

import { h, put, uid } from "../core/dom.js";

export class Tabs {
  #buttons = new Map();
  #counts = new Map();

  /** `tabs`: [[name, title, () => node]]; the first is shown where the address names none. */
  constructor(view, tabs) {
    Object.assign(this, { view, tabs });
    const id = uid("tab");
    this.panel = h("div.panel", { role: "tabpanel", id: `${id}-panel`, tabindex: -1 });
    for (const [name, title] of tabs) {
      const number = h("span.count");
      this.#counts.set(name, number);
      this.#buttons.set(name, h("button", { role: "tab", id: `${id}-${name}`, "aria-controls": `${id}-panel`,
        onclick: () => this.#choose(name) }, title, number));
    }
    this.element = h("div.tabs", h("div.tablist", { role: "tablist", "aria-label": "Views", onkeydown: (event) => this.#key(event) },
      ...this.#buttons.values()), this.panel);
    this.read();
  }

  read() {
    const asked = this.view.query.get("tab");
    const [name, , build] = this.tabs.find(([one]) => one === asked) ?? this.tabs[0];
    if (name === this.current) return;
    this.current = name;
    for (const [one, button] of this.#buttons) {
      button.setAttribute("aria-selected", String(one === name));
      button.tabIndex = one === name ? 0 : -1;
    }
    this.panel.setAttribute("aria-labelledby", this.#buttons.get(name).id);
    put(this.panel, build());
  }

  count(name, number) { put(this.#counts.get(name), number ? number.toLocaleString("en") : ""); }

  #choose(name) {
    this.view.filter({ tab: name === this.tabs[0][0] ? null : name }, { replace: true });
  }

  #key(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const names = [...this.#buttons.keys()];
    const next = names[(names.indexOf(this.current) + by + names.length) % names.length];
    this.#choose(next);
    this.#buttons.get(next).focus();
  }
}
