// What can be run here: the forms that the caller may use, with a search box.

import { api, count, h, put, session, titled } from "../page.js";
import { icon } from "../parts/icons.js";

export async function render(view) {
  const [forms, { workflows }] = await Promise.all([allForms(view.signal), view.get("/workflows")]);
  const known = new Map(workflows.map((workflow) => [workflow.name, workflow]));
  const items = forms.map((form) => ({ form, workflow: known.get(form.linkedWorkflow) }))
    .sort((one, other) => category(one).localeCompare(category(other)) || one.form.name.localeCompare(other.form.name));
  const list = h("div");
  const told = h("p.muted", { role: "status" });
  const search = h("input.search", { type: "search", placeholder: "Search by name, description or tag",
    "aria-label": "Search workflows", value: view.query.get("q") ?? "", oninput: changed, "data-search": true });

  function changed() {
    view.filter({ q: search.value }, { replace: true });
  }

  function show() {
    const words = (view.query.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const found = items.filter(({ form, workflow }) => words.every((word) => haystack(form, workflow).includes(word)));
    put(told, items.length ? count(found.length, "workflow") : "");
    put(list, found.length ? h("ul.cards", found.map(({ form, workflow }) => card(view, form, workflow))) : nothing(items.length));
  }

  view.onQuery = show;
  show();
  return h("section", h("header.page", h("h1", "Run a workflow"), h("p.muted", `For ${session.org.name}`)), search, told, list);
}

async function allForms(signal) {
  const forms = [];
  for (let after = null; ;) {
    const page = await api.get("/forms", { query: { limit: 500, after }, signal });
    forms.push(...page.forms);
    if (!(after = page.next)) return forms;
  }
}

function haystack(form, workflow) {
  return [form.id, form.name, form.description, form.linkedWorkflow, workflow?.category, ...(workflow?.tags ?? [])].join(" ").toLowerCase();
}

const category = ({ workflow }) => workflow?.category ?? "";

function card(view, form, workflow) {
  const signs = [workflow?.requiresApproval && "Needs approval", ...(workflow?.tags ?? []).slice(0, 3)].filter(Boolean);
  return h("li", h("a.card.choice", { href: view.link(`run/${form.id}`) },
    workflow?.category ? h("span.eyebrow", titled(workflow.category)) : null,
    h("span.title", icon("play"), form.name),
    h("span.muted", form.description || workflow?.description || ""),
    form.problem ? h("span.problem", form.problem) : null,
    signs.length ? h("span.tags", signs.map((sign) => h("span.tag", sign))) : null));
}

function nothing(any) {
  return any ? h("p.empty", "Nothing matches. Try fewer words.")
    : h("div.empty", h("p", "There is nothing that you may run here."),
      h("p.muted", "A workflow shows up as soon as an executor has imported its file; it also needs a permission that your key has."));
}
