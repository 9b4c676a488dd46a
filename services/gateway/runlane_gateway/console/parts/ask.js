// Buttons that do something, dialogs with a few fields, and what is shown once: used by the operator's pages.

import { h, uid } from "../core/dom.js";
import { dialog } from "./dialog.js";
import { copy, toast } from "./toast.js";

/** A button; while `work` runs it is off, and what is refused is said. `done`: what to say afterwards. */
export function button(label, work, { tone, done, name } = {}) {
  const element = h(`button.button${tone ? `.${tone}` : ""}`, { "aria-label": name, async onclick() {
    element.disabled = true;
    try {
      const result = await work();
      if (done && result !== undefined) toast(done);
    } catch (problem) {
      if (problem.name !== "AbortError") toast(problem.message, { tone: "bad" });
    } finally {
      element.disabled = false;
    }
  } }, label);
  return element;
}

/** Asks for `fields`: [{name, label, type, value, options, required, help}]; resolves to what `act(values)` gave, undefined if dismissed. */
export function ask({ title, text, fields = [], verb, tone = "primary", act }) {
  return dialog(title, (close) => {
    const inputs = fields.map((field) => ({ field, input: inputOf(field) }));
    const problem = h("p.problem", { role: "alert" });
    const go = h(`button.button.${tone}`, { type: "submit" }, verb);
    async function send(event) {
      event.preventDefault();
      go.disabled = true;
      try {
        close(await act(Object.fromEntries(inputs.map(({ field, input }) => [field.name, valueOf(field, input)]))) ?? true);
      } catch (refused) {
        problem.textContent = refused.message;
        go.disabled = false;
      }
    }
    return h("form", { onsubmit: send }, text ? h("p", text) : null, inputs.map(({ field, input }) => labelled(field, input)), problem,
      h("footer", h("button.button", { onclick: () => close() }, "Back"), go));
  });
}

function inputOf({ name, type = "text", value = "", options, required = false }) {
  const shared = { id: uid("ask"), name, required };
  if (type === "checkbox") return h("input", { ...shared, type, checked: Boolean(value) });
  if (type === "select") return h("select", shared, options.map((one) => h("option", { value: one, selected: one === value }, one)));
  if (type === "textarea") return h("textarea", { ...shared, rows: 3, maxlength: 1000, value });
  if (type === "json") return h("textarea.code", { ...shared, rows: 6, value });
  return h("input", { ...shared, type, value: value ?? "", autocomplete: type === "password" ? "new-password" : "off" });
}

function valueOf({ type }, input) {
  if (type === "checkbox") return input.checked;
  if (type === "number") return input.value === "" ? null : Number(input.value);
  return input.value;
}

function labelled({ label, help, type }, input) {
  const words = h("label", { for: input.id }, type === "checkbox" ? [input, label] : label);
  return h(type === "checkbox" ? "div.field.box" : "div.field", words, type === "checkbox" ? null : input, help ? h("p.help", help) : null);
}

/** The field for why somebody does something. */
export const REASON = { name: "reason", label: "Reason, kept in the record", type: "textarea" };

/** Shows what will not be shown again. */
export function reveal(title, secret) {
  return dialog(title, (close) => h("div.stack", h("p", "Copy it now: it is not shown again."), h("pre.code", secret),
    h("footer", h("button.button", { onclick: () => copy(secret) }, "Copy"),
      h("button.button.primary", { onclick: () => close(true) }, "Done"))));
}
