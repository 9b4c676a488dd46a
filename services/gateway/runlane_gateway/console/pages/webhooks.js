// The workflows that can be called by a webhook in this organisation, and which of them cannot be for now.

import { at, h, listing, session } from "../page.js";

export async function render(view) {
  const { section } = await listing(view, {
    heading: { title: "Webhooks", lead: "Workflows that other systems start by a delivery." },
    source: { path: at`/webhooks/${session.org.id}`, field: "webhooks" }, first: "First", ms: 10000,
    build: () => ({ key: (item) => item.workflow, empty: "No workflow has a webhook here.", columns: [
      { title: "State", cell: (item) => stateOf(item) },
      { title: "Workflow", class: "wide", cell: (item) => [h("a.strong", { href: view.link(`webhooks/${item.workflow}`) }, item.workflow),
        item.problems.length ? h("span.told.bad", item.problems.join("; ")) : null] },
      { title: "Scheme", cell: (item) => item.scheme },
      { title: "Secrets", class: "number", cell: (item) => item.secrets.length },
    ] }),
  });
  return section;
}

/** One word on whether deliveries are accepted. */
export function stateOf(item) {
  return !item.enabled ? "Off" : item.problems.length ? "Refuses" : "Accepts";
}
