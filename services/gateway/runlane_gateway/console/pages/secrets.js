// Secrets of the organisation: that they are there, never what they are.

import { api, ask, at, button, listing, session, time } from "../page.js";

export async function render(view) {
  const path = at`/orgs/${session.org.id}/secrets`;
  const set = button("Set a secret…", () => edit(path, null, () => list.again()), { tone: "primary", done: "The secret is set" });
  const list = await listing(view, {
    heading: { title: "Secrets", lead: "They can be set and removed, and are shown to nobody.", actions: [set] },
    source: { path, field: "secrets" }, first: "First", ms: 15000,
    build: (again) => ({ key: (item) => item.name, empty: "No secret is set.", columns: [
      { title: "Version", class: "number", cell: (item) => item.version ?? "–" },
      { title: "Name", class: "wide strong code", cell: (item) => item.name },
      { title: "Changed", cell: (item) => time(item.changedAt) },
      { title: "By", class: "by", cell: (item) => item.changedBy ?? "–" },
    ], actions: (item) => [
      button("Replace…", () => edit(path, item.name, again), { done: "The secret is set", name: `Replace ${item.name}` }),
      button("Remove…", () => ask({ title: `Remove ${item.name}`, text: "Workflows that need it fail from now on.", verb: "Remove", tone: "danger",
        async act() { await api.delete(path + at`/${item.name}`); await again(); } }), { tone: "danger", name: `Remove ${item.name}` }),
    ] }),
  });
  return list.section;
}

function edit(path, name, again) {
  return ask({ title: name ? `Replace ${name}` : "Set a secret", verb: "Save",
    fields: [...name ? [] : [{ name: "name", label: "Name", required: true }], { name: "value", label: "Value", type: "password", required: true }],
    async act(values) {
      const answer = await api.put(path + at`/${name ?? values.name.trim()}`, { value: values.value });
      await again();
      return answer;
    } });
}
