// Any JSON as a tree that can be folded: json(value). Long lists and texts are shown in part until asked for.

import { h, put } from "../core/dom.js";
import { copy } from "./toast.js";

const FIRST = 50;
const LONGEST = 2000;

/** A value with a button that copies all of it. */
export function json(value, { label = "Value" } = {}) {
  return h("div.json", { role: "group", "aria-label": label },
    h("button.plain.copy", { onclick: () => copy(JSON.stringify(value, null, 2)) }, "Copy"),
    node(value, 0));
}

function node(value, depth) {
  if (value === null || typeof value !== "object") return leaf(value);
  const list = Array.isArray(value);
  const entries = list ? value.map((item, index) => [index, item]) : Object.entries(value);
  if (!entries.length) return h("span.muted", list ? "[ ]" : "{ }");
  if (list && isShort(value)) return h("span.text", value.map((item) => String(item ?? "null")).join(", "));
  const inside = h("ul");
  const details = h("details", { open: depth < 2, ontoggle: fill },
    h("summary", list ? `list of ${entries.length}` : `${entries.length} ${entries.length === 1 ? "entry" : "entries"}`), inside);
  function fill() {
    if (details.open && !inside.childElementCount) more(inside, entries, 0, depth);
  }
  fill();
  return details;
}

/** A few words: they fit on a line. */
function isShort(list) {
  return list.length <= 12 && list.every((item) => item === null || typeof item !== "object") && list.join(", ").length <= 90;
}

function more(inside, entries, from, depth) {
  const part = entries.slice(from, from + FIRST);
  inside.append(...part.map(([key, item]) => h("li", h("span.name", String(key)), node(item, depth + 1))));
  const rest = entries.length - from - part.length;
  if (!rest) return;
  const button = h("button.plain", { onclick: () => { row.remove(); more(inside, entries, from + FIRST, depth); } },
    `${rest} more`);
  const row = h("li", button);
  inside.append(row);
}

function leaf(value) {
  if (typeof value !== "string") return h("span.number", String(value));
  if (value.length <= LONGEST) return h("span.text", value);
  const span = h("span.text", `${value.slice(0, LONGEST)}… `);
  const button = h("button.plain", { onclick: () => put(span, value) }, `all ${value.length} characters`);
  span.append(button);
  return span;
}

/** What can be shown as name and value side by side; anything deeper as a tree. */
export function facts(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return json(value);
  const entries = Object.entries(value);
  if (!entries.length) return h("p.muted", "Nothing.");
  return h("dl.facts", entries.map(([name, item]) => h("div", h("dt", name),
    h("dd", item !== null && typeof item === "object" ? node(item, 1) : leaf(item ?? "–")))));
}
