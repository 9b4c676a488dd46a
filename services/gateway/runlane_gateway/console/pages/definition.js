// One workflow for its author: where it stands, what its decorator says, its schema, how to call it.

import { at, copier, facts, h, head, json, session, titled, trail } from "../page.js";
import { curl } from "../parts/curl.js";
import { frames, framesOf } from "../parts/frames.js";
import { where } from "./code.js";

const APART = new Set(["name", "parameters", "source", "description", "version", "origin"]);

export async function render(view) {
  const { workflow: name } = view.params;
  const item = await view.get(at`/workflows/${name}`);
  const failure = view.query.get("failure");
  const failed = failure ? await view.get(at`/executions/${failure}`) : null;
  const settings = Object.fromEntries(Object.entries(item).filter(([key, value]) => !APART.has(key) && value !== null && value !== undefined));
  const links = [["executions", "Executions"], item.schedule && session.can("canViewExecutions") && [`schedules/${name}`, "Schedule"]].filter(Boolean);
  return h("section.medium", trail(view, "code", "Workflows", h("code", name)),
    head({ title: titled(name), lead: item.description, actions: links.map(([path, title]) =>
      h("a.button", { href: view.link(path, path === "executions" ? { workflow: name } : {}) }, title)) }),
    failed ? failedAt(view, failed, framesOf(failed.internal?.traceback, item.source.file)) : null,
    card("Source", h("div.row", h("code", where(item.source)), copier(where(item.source))),
      h("p.muted", `Version ${item.version}, from ${item.origin}`)),
    card("Settings", facts(settings)), card("Parameters", json(item.parameters, { label: "Schema" })),
    card("Call it", sample("curl", curl(at`/workflows/${name}`, session.org.id, example(item.parameters))), sample("Python", python(name, item.parameters))));
}

/** Where an execution failed, the line that raised first. */
function failedAt(view, failed, list) {
  return h("div.card.padded.bad", { role: "group", "aria-label": "Where it failed" }, h("h2", "Where it failed"),
    h("p", failed.error, ": ", failed.message ?? "", " (", h("a", { href: view.link(`executions/${failed.executionId}`) }, failed.executionId.slice(-8)), ")"),
    list.length ? frames(list) : h("p.muted", "Its traceback names no line of this code."));
}

function card(title, ...children) {
  return h("div.card.padded", h("h2", title), children);
}

function sample(title, text) {
  return [h("div.row", h("h3", title), copier(text, `Copy ${title}`)), h("pre.code", text)];
}

/** Values of the right kind for what has to be given. */
function example(schema) {
  const wanted = new Set(schema?.required ?? []);
  return Object.fromEntries(Object.entries(schema?.properties ?? {}).filter(([name]) => wanted.has(name)).map(([name, one]) => [name, valueFor(one)]));
}

function valueFor(one) {
  if (one.default !== undefined) return one.default;
  if (one.enum) return one.enum[0];
  return { integer: 1, number: 1, boolean: true, array: [], object: {} }[one.type] ?? "…";
}

function python(name, schema) {
  const body = JSON.stringify(example(schema));
  return `import json, os\n\nfrom runlane.client import Client\n\nwith Client("${location.origin}", os.environ["RUNLANE_API_KEY"], "${session.org.id}") as runlane:\n`
    + `    print(runlane.run("${name}", json.loads(${JSON.stringify(body)})).result)`;
}
