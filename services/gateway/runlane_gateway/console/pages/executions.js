// The list of executions: filters and place are in the address, the gateway does the filtering, pages are read by keys.

import { changed, duration, every, FINISHED, h, instant, local, nameOf, pager, put, session, status, STATUSES, Table, time,
  wordOf } from "../page.js";
import { bulk } from "../parts/bulk.js";

const LOOK_MS = 3000;
const PAGE = 50;
const TRIGGERS = ["http", "schedule", "form", "webhook", "retry"];

export async function render(view) {
  const table = new Table({ caption: "Executions", key: (item) => item.executionId, empty: "No execution matches.",
    columns: columns(view) });
  const pages = pager({ older: () => view.filter(changed(view.query, { after: next })),
    first: () => view.filter(changed(view.query, { after: null })) });
  const fresh = h("button.button.fresh", { onclick: () => { shown = latest; paint(); } });
  const problem = h("p.problem", { role: "alert" });
  const filters = new Filters(view);
  let shown = [];
  let latest = [];
  let next = null;

  async function look() {
    const asked = view.query.toString();
    try {
      const page = await view.get("/executions", { ...read(view.query), limit: PAGE });
      if (asked !== view.query.toString()) return;
      latest = page.executions;
      next = page.next;
      put(problem, "");
    } catch (refused) {
      if (refused.name === "AbortError") throw refused;
      put(problem, refused.message);
      throw refused;
    }
    merge();
  }

  /** Rows in sight are kept up to date where they are; new ones wait until they are asked for, so nothing jumps. */
  function merge() {
    const byId = new Map(latest.map((item) => [item.executionId, item]));
    const added = latest.filter((item) => !shown.some((one) => one.executionId === item.executionId));
    if (!shown.length || scrollY < 40 && !document.querySelector(".table tr:hover, .table :focus-visible") && !added.length) shown = latest;
    else shown = shown.map((item) => byId.get(item.executionId) ?? item);
    paint();
  }

  function paint() {
    const added = latest.filter((item) => !shown.some((one) => one.executionId === item.executionId)).length;
    table.show(shown);
    fresh.hidden = added === 0;
    put(fresh, added >= PAGE ? `${PAGE}+ new` : `${added} new`);
    pages.show({ hasOlder: next !== null, isFirst: !view.query.has("after") });
  }

  view.onQuery = () => {
    shown = [];
    filters.read();
    look().catch(() => {});
  };
  await look();
  const changes = () => !view.query.has("after") || shown.some((item) => !FINISHED.has(item.status));
  every(LOOK_MS, view.signal, async () => { if (changes()) await look(); });
  const all = (action, label) => h("button.button", { onclick: () => bulk(action, withoutPage(view.query)).then(view.onQuery) }, label);
  const actions = session.can("canManageExecutions") ? [all("cancel", "Cancel all…"), all("retry", "Run all again…")] : [];
  return h("section.full", h("header.page.row", h("h1", "Executions"), h("div.grow"), fresh, h("div.actions", actions)), filters.element, problem,
    table.element, pages.element);
}

function columns(view) {
  return [
    { title: "Status", cell: (item) => status(item.status) },
    { title: "Workflow", class: "wide", cell: (item) => [link(view, item), told(item)] },
    { title: "Queued", cell: (item) => time(item.queuedAt) },
    { title: "Took", class: "number", cell: (item) => (item.durationMs === null ? progress(item) : duration(item.durationMs)) },
    { title: "Tries", class: "number", cell: (item) => item.attempt || "–" },
    { title: "Trigger", cell: (item) => item.trigger.kind },
    { title: "By", class: "by", cell: (item) => nameOf(item.executedBy) },
    { title: "Id", class: "code", cell: (item) => item.executionId.slice(-8) },
  ];
}

function link(view, item) {
  return h("a.strong", { href: view.link(`executions/${item.executionId}`) }, item.workflowName);
}

function told(item) {
  const text = item.error ? `${item.error}: ${item.message ?? ""}` : FINISHED.has(item.status) ? null : item.progressMessage;
  return text ? h("span.told", { class: item.error ? "bad" : "muted", title: text }, text) : null;
}

function progress(item) {
  return FINISHED.has(item.status) || item.progress === null ? "–" : `${Math.round(item.progress)} %`;
}

function read(query) {
  const asked = {};
  for (const name of ["workflow", "trigger", "tag", "from", "to", "after"]) asked[name] = query.get(name);
  return { ...asked, status: query.getAll("status") };
}

/** The filter as the gateway takes it, of all pages together. */
function withoutPage(query) {
  return Object.fromEntries(Object.entries(read(query)).filter(([name, value]) => name !== "after" && value !== null && value !== ""));
}

/** What the address filters by, as controls. Every change is a new address, so Back goes back. */
class Filters {
  constructor(view) {
    this.view = view;
    this.statuses = h("fieldset.pills", h("legend.unseen", "Status"), STATUSES.map((name) => h("label.pill",
      h("input", { type: "checkbox", name: "status", value: name, onchange: () => this.#choose() }), wordOf(name))));
    this.workflow = h("input", { name: "workflow", placeholder: "Workflow", "aria-label": "Workflow", list: "workflow-names",
      autocomplete: "off", onchange: () => this.#choose(), "data-search": true });
    this.tag = h("input", { name: "tag", placeholder: "Tag", "aria-label": "Tag", onchange: () => this.#choose() });
    this.trigger = h("select", { name: "trigger", "aria-label": "Trigger", onchange: () => this.#choose() },
      h("option", { value: "" }, "Any trigger"), TRIGGERS.map((name) => h("option", { value: name }, name)));
    this.from = h("input", { type: "datetime-local", name: "from", "aria-label": `Queued from, ${session.zone}`,
      title: `Queued from, ${session.zone}`, onchange: () => this.#choose() });
    this.to = h("input", { type: "datetime-local", name: "to", "aria-label": `Queued before, ${session.zone}`,
      title: `Queued before, ${session.zone}`, onchange: () => this.#choose() });
    const names = h("datalist", { id: "workflow-names" });
    view.get("/workflows").then(({ workflows }) => put(names,
      workflows.map((workflow) => h("option", { value: workflow.name })))).catch(() => {});
    this.element = h("form.filters", { role: "search", "aria-label": "Filters",
      onsubmit: (event) => { event.preventDefault(); this.#choose(); } },
      this.statuses, h("details.more", { open: matchMedia("(min-width: 44rem)").matches }, h("summary", "More filters"),
        h("div.row", this.workflow, this.tag, this.trigger, h("span.range", this.from, h("span.muted", "to"), this.to),
        h("button.button", { onclick: () => view.filter({}) }, "Clear")), names));
    this.read();
  }

  read() {
    const { query } = this.view;
    const chosen = new Set(query.getAll("status"));
    for (const box of this.statuses.querySelectorAll("input")) box.checked = chosen.has(box.value);
    for (const name of ["workflow", "tag", "trigger"]) this[name].value = query.get(name) ?? "";
    for (const name of ["from", "to"]) this[name].value = query.get(name) ? local(query.get(name)) : "";
  }

  #choose() {
    const when = (input) => (input.value ? instant(input.value) : null);
    this.view.filter(changed(this.view.query, {
      status: [...this.statuses.querySelectorAll("input:checked")].map((box) => box.value),
      workflow: this.workflow.value.trim(), tag: this.tag.value.trim(), trigger: this.trigger.value,
      from: when(this.from), to: when(this.to), after: null,
    }));
  }
}
