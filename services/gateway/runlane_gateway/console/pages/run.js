// One workflow's form. `?from=ID` fills in what an earlier execution got.

import { api, at, h, session, toast, trail } from "../page.js";
import { Form } from "../parts/form.js";

export async function render(view) {
  const path = at`/forms/${view.params.form}`;
  const from = view.query.get("from");
  const [definition, earlier] = await Promise.all([
    view.get(path),
    from ? view.get(at`/executions/${from}`).catch(() => null) : null,
  ]);
  // One key for this page: sending it twice, after a lost answer too, runs it once.
  let attempt = crypto.randomUUID();
  const form = new Form(definition, {
    verb: definition.requiresApproval ? "Ask for approval" : "Run",
    signal: view.signal,
    async send(values) {
      try {
        const accepted = await api.post(`${path}/submit`, values, { headers: { Prefer: "respond-async", "Idempotency-Key": attempt } });
        view.go(`executions/${accepted.executionId}`);
      } catch (problem) {
        if (problem.status !== 0 && problem.status < 500) attempt = crypto.randomUUID();
        throw problem;
      }
    },
  });
  if (earlier?.input) {
    form.fill(earlier.input);
    if (JSON.stringify(earlier.input).includes("[REDACTED")) toast("What is secret has to be entered again.");
  }
  return h("section.narrow", h("header.page",
    trail(view, "run", "Run", definition.name),
    h("h1", definition.name), definition.description ? h("p.lead", definition.description) : null,
    h("p.muted", `Runs for ${session.org.name}`, definition.requiresApproval ? " once somebody else has approved it" : "")),
  definition.warnings.map((warning) => h("p.notice", warning)),
  h("div.card.padded", definition.fields.length ? form.element : [h("p.muted", "It needs no input."), form.element]));
}
