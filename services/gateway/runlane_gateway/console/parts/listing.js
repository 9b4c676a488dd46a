// A page that is one list of the API: filters and place in the address, looked at again while it is shown.

import { api, changed } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { every } from "../core/every.js";
import { pager, Table } from "./table.js";

/**
 * `source` is {path, field, query}; `filters` [{name, label, options}]; `heading` {title, lead, actions}.
 * `build(again)` → {columns, key, empty}: `again()` reads the list once more, for what an action has changed.
 * Returns {section, again}.
 */
export async function listing(view, { heading, source, filters = [], build, ms = 5000, first = "Newest" }) {
  const problem = h("p.problem", { role: "alert" });
  let next = null;

  async function again() {
    const asked = view.query.toString();
    const query = { ...source.query, after: view.query.get("after") };
    for (const { name } of filters) query[name] = view.query.get(name);
    try {
      const page = await api.get(source.path, { query, signal: view.signal });
      if (asked !== view.query.toString()) return;
      next = page.next ?? null;
      table.show(page[source.field]);
      pages.element.hidden = next === null && !view.query.has("after");
      pages.show({ hasOlder: next !== null, isFirst: !view.query.has("after") });
      put(problem, "");
    } catch (refused) {
      if (refused.name !== "AbortError") put(problem, refused.message);
      throw refused;
    }
  }

  const table = new Table({ caption: heading.title, ...build(again) });
  const turn = (after) => () => view.filter(changed(view.query, { after: after() }));
  const pages = pager({ older: turn(() => next), first: turn(() => null), words: [first, first === "Newest" ? "Older" : "More"] });
  const controls = filters.map((filter) => control(view, filter));
  view.onQuery = () => { controls.forEach((one) => one.read()); again().catch(() => {}); };
  await again().catch((refused) => { if (refused.name === "AbortError" || refused.status === 404) throw refused; });
  every(ms, view.signal, again);
  const section = h("section", head(heading), controls.length ? h("form.filters", { role: "search", "aria-label": "Filters",
    onsubmit: (event) => event.preventDefault() }, h("div.row", controls.map((one) => one.element))) : null, problem, table.element, pages.element);
  return { section, again };
}

/** The way back to the list that a page is of. */
export const trail = (view, path, title, ...name) => h("p.crumbs", h("a", { href: view.link(path) }, title), " / ", name);

/** The heading of a page with what can be done there. */
export function head({ title, lead, actions = [] }) {
  return h("header.page", h("div.row", h("h1", title), h("div.grow"), actions.length ? h("div.actions", actions) : null),
    lead ? h("p.muted", lead) : null);
}

function control(view, { name, label, options }) {
  const onchange = () => view.filter(changed(view.query, { after: null, [name]: element.value.trim() }));
  const element = options
    ? h("select", { name, "aria-label": label, onchange }, h("option", { value: "" }, `Any ${label.toLowerCase()}`), options.map((one) => h("option", { value: one }, one)))
    : h("input", { name, placeholder: label, "aria-label": label, onchange, autocomplete: "off" });
  const read = () => { element.value = view.query.get(name) ?? ""; };
  read();
  return { element, read };
}
