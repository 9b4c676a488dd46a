// A table whose rows are matched by their keys, so that news changes cells and nothing jumps.

import { h, put } from "../core/dom.js";

/** `columns`: [{title, cell(item) → node or text, class}], as narrow as what is in them unless their class is wide, by or do;
    `actions(item)` → buttons at the end of a row; `key(item)` tells rows apart. */
export class Table {
  #rows = new Map();

  constructor({ caption, columns, actions, key, empty = "Nothing here." }) {
    if (actions) columns = [...columns, { title: "", class: "do", cell: (item) => h("div.actions", actions(item)) }];
    Object.assign(this, { columns, key, empty });
    this.body = h("tbody");
    this.note = h("p.empty", { hidden: true });
    this.element = h("div.table", { role: "region", "aria-label": caption, tabindex: 0 },
      h("table", h("caption.unseen", caption),
        h("thead", h("tr", columns.map((column) => h("th", { scope: "col", class: column.class ?? "" }, column.title)))), this.body),
      this.note);
  }

  /** Show these, in this order. */
  show(items) {
    const rows = items.map((item) => this.#row(item));
    const kept = new Set(items.map(this.key));
    for (const key of this.#rows.keys()) if (!kept.has(key)) this.#rows.delete(key);
    const { children } = this.body;
    if (rows.length !== children.length || rows.some((row, index) => children[index] !== row)) this.body.replaceChildren(...rows);
    this.note.hidden = items.length > 0;
    put(this.note, this.empty);
  }

  #row(item) {
    const key = this.key(item);
    const known = this.#rows.get(key);
    const told = JSON.stringify(item);
    if (known?.told === told) return known.row;
    const row = known?.row ?? h("tr", { onclick: (event) => this.#follow(event, row) });
    put(row, this.columns.map((column) => h("td", { class: column.class ?? "", "data-title": column.title }, column.cell(item))));
    this.#rows.set(key, { row, told });
    return row;
  }

  /** A click anywhere in a row follows its link, unless text is being selected. */
  #follow(event, row) {
    if (event.target.closest("a, button, input") || String(getSelection())) return;
    row.querySelector("a")?.click();
  }
}

/** Older and newer pages of a list that is read by keys. */
export function pager({ older, first, words: [start, onward] = ["Newest", "Older"] }) {
  const back = h("button.button", { onclick: first }, start);
  const on = h("button.button", { onclick: older }, onward);
  const element = h("nav.pager", { "aria-label": "Pages" }, back, on);
  return { element, show({ hasOlder, isFirst }) { on.disabled = !hasOlder; back.disabled = isFirst; } };
}
