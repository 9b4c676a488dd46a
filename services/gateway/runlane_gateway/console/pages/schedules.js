// What runs by itself in the organisation, when it does so next, and pausing it.

import { api } from "../core/api.js";
import { h } from "../core/dom.js";
import { session } from "../core/session.js";
import { button } from "../parts/ask.js";
import { listing } from "../parts/listing.js";
import { time } from "../parts/time.js";

export async function render(view) {
  const { section } = await listing(view, {
    heading: { title: "Schedules", lead: `What runs by itself for ${session.org.name}; times are those of ${session.zone}.` },
    source: { path: "/schedules", field: "schedules" },
    build: (again) => ({ key: (item) => item.workflow, empty: "Nothing is scheduled here.", columns: [
      { title: "State", class: "tight", cell: (item) => (item.enabled ? "On" : "Paused") },
      { title: "Workflow", class: "wide", cell: (item) => h("a.strong", { href: view.link(`schedules/${item.workflow}`) }, item.workflow) },
      { title: "Next", class: "tight", cell: (item) => (item.enabled && item.nextFires.length ? time(item.nextFires[0]) : "–") },
      { title: "When", class: "tight code", cell: (item) => item.schedule },
      { title: "Clock", class: "tight", cell: (item) => (item.timeZone === "org" ? `org (${session.zone})` : item.timeZone) },
      { title: "", class: "do", cell: (item) => (session.can("canManageConfig") ? h("div.actions", pauser(item, again)) : null) },
    ] }),
  });
  return section;
}

/** Pauses a schedule or lets it go on. */
export function pauser(item, again) {
  return button(item.enabled ? "Pause" : "Resume", async () => {
    await api.put(`/schedules/${encodeURIComponent(item.workflow)}`, { enabled: !item.enabled });
    await again();
  }, { name: `${item.enabled ? "Pause" : "Resume"} ${item.workflow}` });
}
