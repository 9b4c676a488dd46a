// The fields of a form: what people see, what they typed as JSON, which rules hold, errors beside them.

import { h, put, uid } from "../core/dom.js";
import { instant, local, titled } from "../core/format.js";
import { session } from "../core/session.js";

/** One field. `value()` is JSON, undefined where it was left empty; raises `Error` for what cannot be read. */
export class Field {
  constructor(definition, schema, changed) {
    Object.assign(this, { definition, schema, changed, name: definition.name });
    const id = uid("field");
    this.help = h("p.help", { id: `${id}-help` }, definition.help ?? "");
    this.problem = h("p.problem", { id: `${id}-problem`, role: "alert" });
    this.kind = KINDS[definition.type] ?? KINDS.text;
    this.control = this.kind.make(this, id);
    this.input = this.control.matches("input, select, textarea") ? this.control : this.control.querySelector("input, select, textarea");
    this.element = this.#frame(id);
    if (definition.default !== undefined) this.set(definition.default);
  }

  #frame(id) {
    const { definition, control } = this;
    const label = definition.label === definition.name ? titled(definition.name) : definition.label;
    const mark = definition.required ? h("span.required", { "aria-hidden": "true" }, " *")
      : h("span.muted", definition.type === "boolean" ? "" : " optional");
    const parts = [this.help, this.problem];
    if (definition.type === "boolean") return h("div.field.box", h("label", control, h("span", label)), parts);
    if (control.matches("fieldset")) return h("div.field", put(control, h("legend", label, mark), ...control.childNodes), parts);
    return h("div.field", h("label", { for: id }, label, mark), control, parts);
  }

  value() { return this.kind.read(this); }
  set(value) { this.kind.write(this, value); }

  /** Say what is wrong, or nothing. */
  refuse(text) {
    put(this.problem, text);
    this.element.classList.toggle("wrong", Boolean(text));
    this.input?.setAttribute("aria-invalid", text ? "true" : "false");
  }

  get shown() { return !this.element.hidden; }
}

function input(type, extra = {}) {
  return (field, id) => {
    const { required, max, sensitive } = field.definition;
    return h("input", {
      id, type: sensitive ? "password" : type, name: field.name, required, autocomplete: "off",
      "aria-describedby": `${id}-help ${id}-problem`,
      maxlength: type === "text" && max !== undefined ? max : null, oninput: field.changed, ...extra,
    });
  };
}

function area(rows, extra = {}) {
  return (field, id) => h("textarea", { id, rows, name: field.name, required: field.definition.required,
    "aria-describedby": `${id}-help ${id}-problem`, oninput: field.changed, ...extra });
}

const plain = {
  read: (field) => field.input.value === "" ? undefined : field.input.value,
  write: (field, value) => { field.input.value = value ?? ""; },
};

const numeric = {
  read(field) {
    const text = field.input.value.trim();
    if (field.input.validity.badInput) throw new Error("This is not a number.");
    if (text === "") return undefined;
    const number = Number(text);
    if (!Number.isFinite(number)) throw new Error("This is not a number.");
    if (field.definition.type === "integer" && !Number.isInteger(number)) throw new Error("A whole number is needed.");
    return number;
  },
  write: plain.write,
};

const KINDS = {
  text: { make: input("text"), ...plain },
  email: { make: input("email", { inputmode: "email" }), ...plain },
  multiline: { make: area(4), ...plain },
  date: { make: input("date"), ...plain },
  integer: { make: input("number", { step: 1, inputmode: "numeric" }), ...numeric },
  number: { make: input("number", { step: "any", inputmode: "decimal" }), ...numeric },
  datetime: {
    make(field, id) {
      field.help.append(`${field.help.textContent ? " · " : ""}Time in ${session.zone}`);
      return input("datetime-local")(field, id);
    },
    read: (field) => field.input.value === "" ? undefined : instant(field.input.value),
    write: (field, value) => { field.input.value = value ? local(value) : ""; },
  },
  boolean: {
    make: (field, id) => h("input", { id, type: "checkbox", name: field.name, onchange: field.changed,
      "aria-describedby": `${id}-help ${id}-problem` }),
    read: (field) => field.input.checked,
    write: (field, value) => { field.input.checked = value === true; },
  },
  choice: {
    make(field, id) {
      const select = h("select", { id, name: field.name, required: field.definition.required,
        "aria-describedby": `${id}-help ${id}-problem`, onchange: field.changed });
      field.offer = (choices) => offerOne(field, select, choices);
      field.offer(field.definition.choices ?? []);
      return select;
    },
    read: (field) => field.control.value === "" ? undefined : field.offered[Number(field.control.value)].value,
    write(field, value) { field.wish = value; field.offer(field.offered); },
  },
  choices: {
    make(field) {
      const set = h("fieldset.choices", { onchange: () => { field.wish = field.value() ?? []; field.changed(); } });
      field.offer = (choices) => offerMany(field, choices);
      field.boxes = h("div.boxes");
      set.append(field.boxes);
      field.offer(field.definition.choices ?? []);
      return set;
    },
    read(field) {
      const chosen = [...field.boxes.querySelectorAll("input")].filter((box) => box.checked).map((box) => field.offered[Number(box.value)].value);
      return chosen.length ? chosen : undefined;
    },
    write(field, value) { field.wish = value ?? []; field.offer(field.offered); },
  },
  list: {
    make(field, id) {
      field.help.append(`${field.help.textContent ? " · " : ""}One per line`);
      return area(4)(field, id);
    },
    read(field) {
      const lines = field.input.value.split("\n").map((line) => line.trim()).filter(Boolean);
      return lines.length ? lines.map((line) => item(field, line)) : undefined;
    },
    write(field, value) {
      field.input.value = (value ?? []).map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join("\n");
    },
  },
  json: {
    make: area(6, { spellcheck: "false", class: "code", placeholder: "{ }" }),
    read(field) {
      if (field.input.value.trim() === "") return undefined;
      try { return JSON.parse(field.input.value); } catch (problem) { throw new Error(`This is not JSON: ${problem.message}`); }
    },
    write: (field, value) => { field.input.value = value === undefined || value === null ? "" : JSON.stringify(value, null, 2); },
  },
};

/** A line of a list: text where the workflow takes text, else JSON where it is. */
function item(field, line) {
  if (field.schema?.items?.type === "string" || !field.schema?.items?.type) return line;
  try { return JSON.parse(line); } catch { return line; }
}

function same(one, other) { return JSON.stringify(one) === JSON.stringify(other); }

function offerOne(field, select, choices) {
  const wish = field.wish ?? (select.value === "" ? undefined : field.offered?.[Number(select.value)]?.value);
  field.offered = choices;
  put(select, h("option", { value: "" }, field.definition.required ? "Choose…" : "–"),
    choices.map((choice, index) => h("option", { value: String(index) }, choice.label || String(choice.value))));
  const at = choices.findIndex((choice) => same(choice.value, wish));
  select.value = at === -1 ? "" : String(at);
  if (at !== -1) field.wish = undefined;
}

function offerMany(field, choices) {
  const wish = field.wish ?? [];
  field.offered = choices;
  put(field.boxes, choices.length ? choices.map((choice, index) => h("label.tick",
    h("input", { type: "checkbox", value: String(index), checked: wish.some((one) => same(one, choice.value)) }),
      choice.label || String(choice.value)))
    : h("span.muted", "Nothing to choose from yet."));
}

const filled = (value) => value !== undefined && value !== null && value !== "" && !(Array.isArray(value) && !value.length);

const OPERATORS = {
  equals: (value, wanted) => same(value ?? null, wanted ?? null),
  notEquals: (value, wanted) => !same(value ?? null, wanted ?? null),
  in: (value, wanted) => (Array.isArray(value) ? value : [value ?? null]).some((one) => wanted.some((other) => same(one, other))),
  notIn: (value, wanted) => !OPERATORS.in(value, wanted),
  filled: (value) => filled(value),
  empty: (value) => !filled(value),
};

/** Whether all rules of a field hold for these values; the gateway decides the same on submission. */
export function holds(rules, values) {
  return (rules ?? []).every((rule) => OPERATORS[rule.operator]?.(values[rule.field], rule.value) ?? true);
}

/** What is wrong before the gateway is asked; it checks everything again. */
export function objection(definition, value) {
  if (!filled(value)) return definition.required ? "This is needed." : null;
  const size = typeof value === "number" ? value : value.length;
  const of = typeof value === "number" ? "" : Array.isArray(value) ? " entries" : " characters";
  if (definition.min !== undefined && size < definition.min) return `At least ${definition.min}${of}.`;
  if (definition.max !== undefined && size > definition.max) return `At most ${definition.max}${of}.`;
  return null;
}
