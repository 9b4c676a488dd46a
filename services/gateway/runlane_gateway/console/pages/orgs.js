// Every organisation that the caller may name: making one, changing its name, zone and tags.

import { api, ask, at, button, h, listing } from "../page.js";
import { address } from "../core/router.js";

export async function render(view) {
  const make = button("New organisation…", () => edit(null, () => list.again()), { tone: "primary" });
  const list = await listing(view, {
    heading: { title: "Organisations", actions: [make] },
    source: { path: "/orgs", field: "organizations", query: { limit: 100 } }, first: "First", ms: 15000, filters: [{ name: "tag", label: "Tag" }],
    build: (again) => ({ key: (item) => item.id, empty: "No organisation.", columns: [
      { title: "Id", class: "code", cell: (item) => item.id },
      { title: "Name", class: "wide", cell: (item) => h("a.strong", { href: address(item.id, "run") }, item.name) },
      { title: "Zone", cell: (item) => item.timeZone },
      { title: "Tags", cell: (item) => item.tags.join(", ") },
    ], actions: (item) => button("Change…", () => edit(item, again), { name: `Change ${item.name}` }) }),
  });
  return list.section;
}

function edit(org, again) {
  return ask({ title: org ? org.name : "New organisation", verb: "Save", fields: [
    ...org ? [] : [{ name: "id", label: "Id", required: true, help: "Letters, digits, - and _. It cannot be changed." }],
    { name: "name", label: "Name", value: org?.name, required: true }, { name: "timeZone", label: "Time zone", value: org?.timeZone ?? "UTC", required: true },
    { name: "tags", label: "Tags, with commas between", value: org?.tags.join(", ") }],
    async act({ id, name, timeZone, tags }) {
      const answer = await api.put(at`/orgs/${org?.id ?? id.trim()}`,
        { name, timeZone, tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean) },
        org ? {} : { headers: { "If-None-Match": "*" } });
      await again();
      return answer;
    } });
}
