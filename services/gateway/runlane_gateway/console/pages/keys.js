// API keys that may act in the organisation: who made them, what they may do; making and revoking them.

import { api, ask, at, button, h, listing, reveal, session, time } from "../page.js";

const ROLES = ["technician", "viewer", "approver", "author", "operator", "owner"];

export async function render(view) {
  const make = button("Make a key…", () => made(() => list.again()), { tone: "primary" });
  const list = await listing(view, {
    heading: { title: "Keys", lead: `Keys that may act in ${session.org.name}. A key is shown once, when it is made.`, actions: [make] },
    source: { path: "/keys", field: "keys", query: { org: session.org.id } }, first: "First", ms: 15000,
    build: (again) => ({ key: (item) => item.id, empty: "No key.", columns: [
      { title: "State", cell: (item) => (item.expired ? "Expired" : "Valid") },
      { title: "Name", class: "wide", cell: (item) => [h("span.strong", item.name), h("span.told.muted", [...item.roles, ...item.permissions].join(", "))] },
      { title: "Made", cell: (item) => time(item.createdAt) },
      { title: "Ends", cell: (item) => time(item.expiresAt) },
      { title: "By", class: "by", cell: (item) => item.createdBy ?? "–" },
      { title: "Id", class: "code", cell: (item) => item.id },
    ], actions: (item) => button("Revoke…", () => revoke(item, again), { tone: "danger", done: "Revoked", name: `Revoke ${item.name}` }) }),
  });
  return list.section;
}

async function made(again) {
  const key = await ask({ title: "Make a key", text: `For ${session.org.name}.`, verb: "Make", fields: [
    { name: "name", label: "Whose it is, or what for", required: true }, { name: "role", label: "Role", type: "select", options: ROLES, value: "technician" },
    { name: "days", label: "Ends after so many days", type: "number", help: "Empty: never." }],
    act: ({ name, role, days }) => api.post("/keys", { name, roles: [role], orgs: [session.org.id],
      ...days ? { expiresAt: new Date(Date.now() + days * 86400000).toISOString() } : {} }) });
  if (!key) return;
  await again();
  await reveal(`The key of ${key.name}`, key.key);
}

function revoke(item, again) {
  return ask({ title: `Revoke ${item.name}`, text: "Whoever uses it is refused within a second. It cannot be brought back.", verb: "Revoke", tone: "danger",
    async act() { await api.delete(at`/keys/${item.id}`); await again(); } });
}
