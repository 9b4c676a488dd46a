// Configuration of the organisation: each value with where it comes from.

import { api, ask, at, button, h, json, listing, session, time } from "../page.js";

export async function render(view) {
  const path = at`/orgs/${session.org.id}/config`;
  const set = button("Set a value…", () => edit(path, null, () => list.again()), { tone: "primary" });
  const list = await listing(view, {
    heading: { title: "Configuration", lead: `What workflows read in ${session.org.name}: its own values, and those that every organisation inherits.`, actions: [set] },
    source: { path, field: "config" }, first: "First", ms: 15000,
    build: (again) => ({ key: (item) => item.key, empty: "Nothing is set.", columns: [
      { title: "From", cell: (item) => h("span.tag", item.inherited ? "inherited" : "own") },
      { title: "Key", class: "strong code", cell: (item) => item.key },
      { title: "Value", class: "wide", cell: (item) => json(item.value, { label: item.key }) },
      { title: "Changed", cell: (item) => time(item.changedAt) },
      { title: "By", class: "by", cell: (item) => item.changedBy ?? "–" },
    ], actions: (item) => [button(item.inherited ? "Override…" : "Change…", () => edit(path, item, again), { name: `Change ${item.key}` }),
      item.inherited ? null : button("Remove…", () => remove(path, item, again), { tone: "danger", name: `Remove ${item.key}` })] }),
  });
  return list.section;
}

function edit(path, item, again) {
  const key = { name: "key", label: "Key", required: true };
  return ask({ title: item ? item.key : "Set a value", verb: "Save",
    fields: [...item ? [] : [key], { name: "value", label: "Value", type: "json", value: item ? JSON.stringify(item.value, null, 2) : "",
      required: true, help: "JSON; what is none is taken as text." }],
    async act(values) {
      const answer = await api.put(path + at`/${item?.key ?? values.key.trim()}`, { value: read(values.value) });
      await again();
      return answer;
    } });
}

function read(text) {
  try { return JSON.parse(text); } catch { return text; }
}

function remove(path, item, again) {
  return ask({ title: `Remove ${item.key}`, text: "An inherited value counts again where there is one.", verb: "Remove", tone: "danger",
    async act() { await api.delete(path + at`/${item.key}`); await again(); } });
}
