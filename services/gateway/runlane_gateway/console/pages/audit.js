// Who changed what, when, from where, and what came of it.

import { button, dialog, facts, h, listing, session, time, toned } from "../page.js";

const TONES = { done: "good", failed: "bad", intended: "ask" };

export async function render(view) {
  const { section } = await listing(view, {
    heading: { title: "Audit trail", lead: `Every change in ${session.org.name}, and every attempt at one.` },
    source: { path: "/audit", field: "entries", query: { org: session.org.id } },
    filters: ["actor", "action", "kind", "key"].map((name) => ({ name, label: name.charAt(0).toUpperCase() + name.slice(1) })),
    build: () => ({ key: (item) => item.id, empty: "No change matches.", columns: [
      { title: "Outcome", cell: (item) => toned(item.outcome, TONES) },
      { title: "What", class: "wide", cell: (item) => [h("span.strong", `${item.action} ${item.kind}`), " ", h("code", item.key), item.reason ? h("span.told", item.reason) : null] },
      { title: "When", cell: (item) => time(item.at) },
      { title: "Who", class: "by", cell: (item) => actor(item.actor) },
      { title: "From", cell: (item) => item.address ?? "–" },
    ], actions: (item) => button("Look", () => dialog("A change", () => facts(item), { wide: true })) }),
  });
  return section;
}

function actor(who) {
  return typeof who === "string" ? who : who?.name ?? who?.email ?? who?.id ?? "–";
}
