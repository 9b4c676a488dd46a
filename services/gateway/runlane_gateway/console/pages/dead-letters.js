// What the engine gave up on: why, what was in it, run it again or throw it away.

import { api, ask, at, button, dialog, facts, h, listing, session, time } from "../page.js";

export async function render(view) {
  const { section } = await listing(view, {
    heading: { title: "Dead letters", lead: "What the engine gave up on. Nothing here runs again by itself." },
    source: { path: "/dead-letters", field: "deadLetters" }, first: "First",
    filters: [{ name: "workflow", label: "Workflow" }, { name: "kind", label: "Kind" }],
    build: (again) => ({ key: (item) => item.id, empty: "Nothing was given up on.", columns: [
      { title: "Kind", cell: (item) => item.kind },
      { title: "Workflow", cell: (item) => [h("span.strong", item.workflow ?? "–"), " ", execution(view, item)] },
      { title: "When", cell: (item) => time(item.at) },
      { title: "Why", class: "wide", cell: (item) => h("span.told", { title: item.reason }, item.reason) },
    ], actions: (item) => [button("Look", () => look(item)), session.can("canManageExecutions") ? deciding(item, again) : null] }),
  });
  return section;
}

function execution(view, item) {
  return item.executionId ? h("a.code", { href: view.link(`executions/${item.executionId}`) }, item.executionId.slice(-8)) : null;
}

const letterAt = (item) => at`/dead-letters/${item.id}`;

async function look(item) {
  const letter = await api.get(letterAt(item));
  await dialog("Dead letter", () => facts(letter), { wide: true });
}

function deciding(item, again) {
  const decide = (verb, title, text, tone) => () => ask({ title, text, verb: title, tone, async act() {
    const answer = await api.post(`${letterAt(item)}/${verb}`);
    await again();
    return answer;
  } });
  return [button("Retry…", decide("redrive", "Run it again", item.ended ? "A new execution with the same parameters." : "The message goes back to its queue.", "primary"),
    { done: "It runs again" }), button("Discard…", decide("discard", "Throw it away", "It cannot be got back.", "danger"), { tone: "danger", done: "Discarded" })];
}
