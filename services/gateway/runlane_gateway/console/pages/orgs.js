// Every organisation that the caller may name: making one, changing its name, zone and tags.

import { api } from "../core/api.js";
import { h } from "../core/dom.js";
import { address } from "../core/router.js";
import { ask, button } from "../parts/ask.js";
import { listing } from "../parts/listing.js";

export async function render(view) {
  const make = button("New organisation…", () => edit(null, () => list.again()), { tone: "primary" });
  const list = await listing(view, {
    heading: { title: "Organisations", actions: [make] },
    source: { path: "/orgs", field: "organizations", query: { limit: 100 } }, first: "First", ms: 15000, filters: [{ name: "tag", label: "Tag" }],
    build: (again) => ({ key: (item) => item.id, empty: "No organisation.", columns: [
      { title: "Id", class: "tight code", cell: (item) => item.id },
      { title: "Name", class: "wide", cell: (item) => h("a.strong", { href: address(item.id, "run") }, item.name) },
      { title: "Zone", class: "tight", cell: (item) => item.timeZone },
      { title: "Tags", class: "tight", cell: (item) => item.tags.join(", ") },
      { title: "", class: "do", cell: (item) => h("div.actions", button("Change…", () => edit(item, again), { name: `Change ${item.name}` })) },
    ] }),
  });
  return list.section;
}

function edit(org, again) {
  return ask({ title: org ? org.name : "New organisation", verb: "Save", fields: [
    ...org ? [] : [{ name: "id", label: "Id", required: true, help: "Letters, digits, - and _. It cannot be changed." }],
    { name: "name", label: "Name", value: org?.name, required: true }, { name: "timeZone", label: "Time zone", value: org?.timeZone ?? "UTC", required: true },
    { name: "tags", label: "Tags, with commas between", value: org?.tags.join(", ") }],
    async act({ id, name, timeZone, tags }) {
      const answer = await api.put(`/orgs/${encodeURIComponent(org?.id ?? id.trim())}`,
        { name, timeZone, tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean) },
        org ? {} : { headers: { "If-None-Match": "*" } });
      await again();
      return answer;
    } });
}
