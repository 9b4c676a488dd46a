// A whole form: fields that show and hide by their rules, choices from other systems, errors of the gateway in their place.

import { api } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { Field, holds, objection } from "./fields.js";

const TYPING = 300;

/** `definition` is GET /forms/{id}; `send(values)` submits and may raise `ApiError` with details.field. */
export class Form {
  #timer = null;
  #asked = new Map();

  constructor(definition, { verb, signal, send }) {
    Object.assign(this, { definition, signal, send });
    const properties = definition.parameters?.properties ?? {};
    this.fields = definition.fields.map((field) => new Field(field, properties[field.name], () => this.#changed()));
    this.summary = h("p.problem.summary", { role: "alert" });
    this.button = h("button.button.primary.large", { type: "submit" }, verb);
    this.element = h("form.fields", { novalidate: true, onsubmit: (event) => this.#submit(event) },
      this.fields.map((field) => field.element), this.summary, h("div.actions", this.button));
    this.#show();
    this.#refreshChoices();
  }

  /** Fill in what an earlier run got; what is masked in its record has to be typed again. */
  fill(values) {
    for (const field of this.fields) {
      const value = values?.[field.name];
      if (value !== undefined && value !== null && !JSON.stringify(value).includes("[REDACTED")) field.set(value);
    }
    this.#show();
    this.#refreshChoices();
  }

  #values() {
    const values = {};
    for (const field of this.fields) {
      try { values[field.name] = field.value(); } catch { /* half typed */ }
    }
    return values;
  }

  #changed() {
    this.#show();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refreshChoices(), TYPING);
  }

  /** In their order, since a field that is hidden counts as empty for those after it. */
  #show() {
    const values = this.#values();
    for (const field of this.fields) {
      field.element.hidden = !holds(field.definition.visibleWhen, values);
      if (field.element.hidden) delete values[field.name];
    }
  }

  async #refreshChoices() {
    const values = this.#values();
    const dynamic = this.fields.filter((field) => field.definition.choicesUrl && field.shown);
    await Promise.all(dynamic.map((field) => this.#refresh(field, values)));
  }

  async #refresh(field, values) {
    const inputs = Object.values(field.definition.choicesFrom?.inputs ?? {}).map((name) => [name, values[name] ?? null]);
    const key = JSON.stringify(inputs);
    if (this.#asked.get(field) === key) return;
    this.#asked.set(field, key);
    field.element.setAttribute("aria-busy", "true");
    try {
      const { choices } = await api.post(field.definition.choicesUrl, Object.fromEntries(inputs.filter(([, value]) => value !== null)),
        { signal: this.signal });
      if (this.#asked.get(field) !== key) return;
      field.offer(choices);
      field.refuse("");
      this.#show();
    } catch (problem) {
      if (problem.name === "AbortError") return;
      field.offer([]);
      if (inputs.every(([, value]) => value !== null)) field.refuse(`The choices could not be had: ${problem.message}`);
    } finally { field.element.removeAttribute("aria-busy"); }
  }

  /** The values of fields in sight; null where one of them cannot be sent, which is then said beside it. */
  #checked() {
    const values = {};
    let good = true;
    for (const field of this.fields.filter((one) => one.shown)) {
      let wrong;
      try {
        const value = field.value();
        wrong = objection(field.definition, value);
        if (value !== undefined) values[field.name] = value;
        else if (field.definition.default !== undefined) values[field.name] = cleared(field);
      } catch (problem) { wrong = problem.message; }
      field.refuse(wrong ?? "");
      if (wrong) good = false;
    }
    return good ? values : null;
  }

  async #submit(event) {
    event.preventDefault();
    put(this.summary, "");
    const values = this.#checked();
    if (values === null) return this.#focusFirst();
    this.button.disabled = true;
    try { await this.send(values); } catch (problem) {
      if (problem.name !== "AbortError") this.#refused(problem);
    } finally { this.button.disabled = false; }
  }

  #refused(problem) {
    const name = String(problem.details?.field ?? "").split(/[.[]/)[0];
    const field = this.fields.find((one) => one.name === name && one.shown);
    if (!field) return put(this.summary, problem.message);
    field.refuse(withoutPlace(problem.message, problem.details.field));
    this.#focusFirst();
  }

  #focusFirst() {
    this.fields.find((field) => field.element.classList.contains("wrong"))?.input?.focus();
  }
}

/** A field with a default that somebody emptied: sent empty, so that the default does not stand in. */
function cleared(field) {
  return { text: "", multiline: "", email: "", list: [], choices: [] }[field.definition.type] ?? null;
}

function withoutPlace(message, place) {
  const text = message.startsWith(`${place}: `) ? message.slice(place.length + 2) : message;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
