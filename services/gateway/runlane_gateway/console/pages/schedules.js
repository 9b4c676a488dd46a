// What runs by itself in the organisation, when it does so next, and pausing it.

import { api, at, button, h, listing, session, time } from "../page.js";

export async function render(view) {
  const { section } = await listing(view, {
    heading: { title: "Schedules", lead: `What runs by itself for ${session.org.name}; times are those of ${session.zone}.` },
    source: { path: "/schedules", field: "schedules" },
    build: (again) => ({ key: (item) => item.workflow, empty: "Nothing is scheduled here.", columns: [
      { title: "State", cell: (item) => (item.enabled ? "On" : "Paused") },
      { title: "Workflow", class: "wide", cell: (item) => h("a.strong", { href: view.link(`schedules/${item.workflow}`) }, item.workflow) },
      { title: "Next", cell: (item) => (item.enabled && item.nextFires.length ? time(item.nextFires[0]) : "–") },
      { title: "When", class: "code", cell: (item) => item.schedule },
      { title: "Clock", cell: (item) => (item.timeZone === "org" ? `org (${session.zone})` : item.timeZone) },
    ], actions: (item) => (session.can("canManageConfig") ? pauser(item, again) : null) }),
  });
  return section;
}

/** Pauses a schedule or lets it go on. */
export function pauser(item, again) {
  return button(item.enabled ? "Pause" : "Resume", async () => {
    await api.put(at`/schedules/${item.workflow}`, { enabled: !item.enabled });
    await again();
  }, { name: `${item.enabled ? "Pause" : "Resume"} ${item.workflow}` });
}
