// The inbox: what waits for somebody's word, what will happen, approve or reject with a reason.

import { deciding, every, facts, h, nameOf, session, terms, time, titled } from "../page.js";

const LOOK_MS = 5000;

export async function render(view) {
  const list = h("ul.inbox");
  const empty = h("div.empty", { hidden: true }, h("p", "Nothing waits for an approval."),
    h("p.muted", "What needs one shows up here by itself."));
  const known = new Map();
  const after = view.query.get("after");
  const older = h("a.button", { hidden: true }, "Older");

  async function look() {
    const { approvals, next } = await view.get("/approvals", { limit: 50, after });
    const ids = new Set(approvals.map((item) => item.executionId));
    for (const [id, row] of known) if (!ids.has(id)) { row.element.remove(); known.delete(id); }
    approvals.forEach((item, index) => place(item, index));
    empty.hidden = approvals.length > 0;
    older.hidden = !next;
    older.setAttribute("href", view.link("approvals", { after: next }));
  }

  /** What has not changed stays as it is, so that nothing moves under a hand. */
  function place(item, index) {
    const told = JSON.stringify(item);
    const row = known.get(item.executionId);
    if (row?.told === told) return;
    const element = card(view, item, look);
    if (row) row.element.replaceWith(element);
    else list.insertBefore(element, list.children[index] ?? null);
    known.set(item.executionId, { told, element });
  }

  await look();
  every(LOOK_MS, view.signal, look);
  return h("section.medium", h("header.page", h("h1", "Approvals"), h("p.muted", `What waits for a word in ${session.org.name}`)), list,
    empty, older);
}

function card(view, item, look) {
  const { approval } = item;
  return h("li.card.padded.approval", { "data-id": item.executionId },
    h("header", h("h2", h("a", { href: view.link(`executions/${item.executionId}`) }, titled(item.workflowName))),
      h("p.muted", `${nameOf(item.requestedBy)} asked `, time(approval.requestedAt, { since: true }), " · expires ",
        time(approval.expiresAt, { since: true }))),
    h("p.lead", approval.message ?? "It starts as soon as it is approved."),
    h("h3", "What will happen"),
    h("p.muted", item.runAt ? ["It runs at ", time(item.runAt), " with:"]
      : `${titled(item.workflowName)} ${approval.message ? "goes on; it was started" : "runs"} with:`),
    item.input ? facts(item.input) : h("p.muted", "No input."),
    terms(approval),
    deciding(item, approval, look));
}
