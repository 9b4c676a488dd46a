// <rl-log>: log lines, of which only those in sight are elements, so 100,000 of them scroll as smoothly as ten.

import { h, put } from "../core/dom.js";
import { clock, count } from "../core/format.js";
import { json } from "./json.js";

const ROW = 22;
const SPARE = 12;
const LEVELS = ["debug", "info", "warning", "error"];

class Log extends HTMLElement {
  #all = [];
  #seen = [];
  #read = 0;
  #from = -1;
  #to = -1;
  #chosen = null;
  #following = true;
  #dropped = 0;

  connectedCallback() {
    if (this.scroller) return;
    this.search = h("input", { type: "search", placeholder: "Find in the log", "aria-label": "Find in the log",
      oninput: () => this.#filter() });
    this.level = h("select", { "aria-label": "Least level", onchange: () => this.#filter() },
      LEVELS.map((level) => h("option", { value: level }, level === "debug" ? "All levels" : `From ${level}`)));
    this.tail = h("input", { type: "checkbox", checked: true, onchange: () => this.#follow(this.tail.checked) });
    this.told = h("span.muted", "0 lines");
    this.rows = h("div.rows");
    this.space = h("div.space", this.rows);
    this.scroller = h("div.scroller", { tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Log",
      onscroll: () => this.#scrolled(), onclick: (event) => this.#choose(event), onkeydown: (event) => this.#key(event) }, this.space);
    this.detail = h("div.detail", { hidden: true });
    put(this, h("div.tools", this.search, this.level, h("label.tick", this.tail, "Follow"), this.told), this.scroller, this.detail);
    this.sizes = new ResizeObserver(() => this.#draw());
    this.sizes.observe(this.scroller);
    this.#filter();
  }

  disconnectedCallback() { this.sizes?.disconnect(); }

  /** All lines so far; the same array may have grown. */
  set lines(lines) {
    if (lines !== this.#all) {
      this.#all = lines;
      this.#read = 0;
      this.#seen = [];
    }
    if (this.scroller) this.#grow();
  }

  /** How many more lines were written and not kept. */
  set dropped(number) { this.#dropped = number; }

  #grow() {
    for (; this.#read < this.#all.length; this.#read += 1) {
      if (this.#wanted(this.#all[this.#read])) this.#seen.push(this.#all[this.#read]);
    }
    this.space.style.setProperty("height", `${this.#seen.length * ROW}px`);
    const hidden = this.#all.length - this.#seen.length;
    const lost = this.#dropped ? `; ${this.#dropped.toLocaleString("en")} more were not kept` : "";
    put(this.told, hidden ? `${this.#seen.length.toLocaleString("en")} of ${count(this.#all.length, "line")}${lost}`
      : `${count(this.#all.length, "line")}${lost}`);
    if (this.#following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#draw();
  }

  #filter() {
    this.#read = 0;
    this.#seen = [];
    this.#from = -1;
    this.#grow();
  }

  #wanted(line) {
    if (LEVELS.indexOf(line.level) < LEVELS.indexOf(this.level.value)) return LEVELS.indexOf(line.level) === -1;
    const text = this.search.value.toLowerCase();
    return !text || line.message.toLowerCase().includes(text)
      || (line.data !== undefined && JSON.stringify(line.data).toLowerCase().includes(text));
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    const atEnd = scrollTop + clientHeight >= scrollHeight - ROW;
    if (atEnd !== this.#following) this.#follow(atEnd, false);
    this.#draw();
  }

  #follow(on, move = true) {
    this.#following = this.tail.checked = on;
    if (on && move) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const last = Math.min(this.#seen.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + SPARE);
    if (first === this.#from && last === this.#to) return;
    this.#from = first;
    this.#to = last;
    this.rows.style.setProperty("transform", `translateY(${first * ROW}px)`);
    this.rows.replaceChildren(...this.#seen.slice(first, last).map((line, index) => this.#row(line, first + index)));
  }

  #row(line, index) {
    const data = line.data === undefined ? null : h("span.data", JSON.stringify(line.data).slice(0, 300));
    return h("div.line", { "data-index": index, "data-level": line.level, "aria-current": index === this.#chosen },
      h("span.at", clock(line.timestamp)), h("span.level", line.level),
      h("span.message", line.message.replaceAll("\n", " ⏎ ").slice(0, 1200)), data);
  }

  #choose(event) {
    const row = event.target.closest(".line");
    if (row && !String(getSelection())) this.#show(Number(row.dataset.index));
  }

  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape" && this.#chosen !== null) this.#show(null);
    else if (!by || !this.#seen.length) return;
    else this.#show(Math.min(this.#seen.length - 1, Math.max(0, (this.#chosen ?? (by > 0 ? this.#from - 1 : this.#seen.length)) + by)));
    event.preventDefault();
  }

  #show(index) {
    this.#chosen = index;
    this.#from = -1;
    const line = index === null ? null : this.#seen[index];
    this.detail.hidden = line === null;
    if (line) {
      this.#follow(false);
      const top = index * ROW;
      const { scrollTop, clientHeight } = this.scroller;
      if (top < scrollTop || top + ROW > scrollTop + clientHeight) this.scroller.scrollTop = top - clientHeight / 2;
      put(this.detail, h("p.muted", `${clock(line.timestamp)} · ${line.level}`,
        h("button.plain", { onclick: () => this.#show(null) }, "Close")),
        h("pre", line.message), line.data === undefined ? null : json(line.data, { label: "Data of the line" }));
    }
    this.#draw();
  }
}

customElements.define("rl-log", Log);

export const log = () => h("rl-log");
