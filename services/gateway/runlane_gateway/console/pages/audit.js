// Who changed what, when, from where, and what came of it.

import { h } from "../core/dom.js";
import { session } from "../core/session.js";
import { button } from "../parts/ask.js";
import { dialog } from "../parts/dialog.js";
import { facts } from "../parts/json.js";
import { listing } from "../parts/listing.js";
import { time } from "../parts/time.js";

const TONES = { done: "good", failed: "bad", intended: "ask" };

export async function render(view) {
  const { section } = await listing(view, {
    heading: { title: "Audit trail", lead: `Every change in ${session.org.name}, and every attempt at one.` },
    source: { path: "/audit", field: "entries", query: { org: session.org.id } },
    filters: ["actor", "action", "kind", "key"].map((name) => ({ name, label: name.charAt(0).toUpperCase() + name.slice(1) })),
    build: () => ({ key: (item) => item.id, empty: "No change matches.", columns: [
      { title: "Outcome", class: "tight", cell: (item) => h("span.tone", { "data-tone": TONES[item.outcome] ?? "calm" }, item.outcome) },
      { title: "What", class: "wide", cell: (item) => [h("span.strong", `${item.action} ${item.kind}`), " ", h("code", item.key), item.reason ? h("span.told", item.reason) : null] },
      { title: "When", class: "tight", cell: (item) => time(item.at) },
      { title: "Who", class: "by", cell: (item) => actor(item.actor) },
      { title: "From", class: "tight", cell: (item) => item.address ?? "–" },
      { title: "", class: "do", cell: (item) => h("div.actions", button("Look", () => dialog("A change", () => facts(item), { wide: true }))) },
    ] }),
  });
  return section;
}

function actor(who) {
  return typeof who === "string" ? who : who?.name ?? who?.email ?? who?.id ?? "–";
}
