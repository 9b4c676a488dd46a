// The executors that answer now, how full they are, and draining one.

import { api, ask, at, button, listing, session } from "../page.js";

export async function render(view) {
  // Draining needs credentials that hold everywhere, whose `orgs` is null; the gateway has the last word.
  const may = session.can("canManageExecutions") && session.me.orgs === null;
  const { section } = await listing(view, {
    heading: { title: "Executors", lead: "Those that answer now. One that is drained takes nothing new, finishes or hands back what it has, and ends." },
    source: { path: "/executors", field: "executors" }, ms: 3000,
    build: (again) => ({ key: (item) => item.executor, empty: "No executor answers: what is queued waits until one does.", columns: [
      { title: "State", cell: (item) => (item.draining ? "Draining" : "Serving") },
      { title: "Executor", class: "wide code", cell: (item) => item.executor },
      { title: "Busy", class: "number", cell: (item) => `${item.running} of ${item.slots}` },
      { title: "Host", cell: (item) => item.host },
      { title: "Process", class: "number", cell: (item) => item.pid },
    ], actions: (item) => (may && !item.draining ? drain(item, again) : null) }),
  });
  return section;
}

function drain(item, again) {
  return button("Drain…", () => ask({ title: "Drain this executor", verb: "Drain", tone: "danger",
    text: `${item.executor} on ${item.host} ends once what it runs has ended or gone back to the queue.`,
    async act() { await api.post(at`/executors/${item.executor}/drain`); await again(); } }), { done: "It drains" });
}
