// The executors that answer now, how full they are, and draining one.

import { api } from "../core/api.js";
import { h } from "../core/dom.js";
import { session } from "../core/session.js";
import { ask, button } from "../parts/ask.js";
import { listing } from "../parts/listing.js";

export async function render(view) {
  // Draining needs credentials that hold everywhere, whose `orgs` is null; the gateway has the last word.
  const may = session.can("canManageExecutions") && session.me.orgs === null;
  const { section } = await listing(view, {
    heading: { title: "Executors", lead: "Those that answer now. One that is drained takes nothing new, finishes or hands back what it has, and ends." },
    source: { path: "/executors", field: "executors" }, ms: 3000,
    build: (again) => ({ key: (item) => item.executor, empty: "No executor answers: what is queued waits until one does.", columns: [
      { title: "State", class: "tight", cell: (item) => (item.draining ? "Draining" : "Serving") },
      { title: "Executor", class: "wide code", cell: (item) => item.executor },
      { title: "Busy", class: "tight number", cell: (item) => `${item.running} of ${item.slots}` },
      { title: "Host", class: "tight", cell: (item) => item.host },
      { title: "Process", class: "tight number", cell: (item) => item.pid },
      { title: "", class: "do", cell: (item) => (may && !item.draining ? h("div.actions", drain(item, again)) : null) },
    ] }),
  });
  return section;
}

function drain(item, again) {
  return button("Drain…", () => ask({ title: "Drain this executor", verb: "Drain", tone: "danger",
    text: `${item.executor} on ${item.host} ends once what it runs has ended or gone back to the queue.`,
    async act() { await api.post(`/executors/${encodeURIComponent(item.executor)}/drain`); await again(); } }), { done: "It drains" });
}
