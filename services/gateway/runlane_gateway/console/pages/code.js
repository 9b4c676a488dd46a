// The workflows that executors have imported, and the files that failed to import with their tracebacks.

import { api } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { every } from "../core/every.js";
import { frames, framesOf } from "../parts/frames.js";
import { head } from "../parts/listing.js";
import { Table } from "../parts/table.js";
import { time } from "../parts/time.js";

export async function render(view) {
  const broken = h("div.stack");
  let told = "";
  const table = new Table({ caption: "Workflows", key: (item) => item.name, empty: "No workflow has been imported.", columns: [
    { title: "State", class: "tight", cell: (item) => (item.enabled ? "On" : "Off here") },
    { title: "Workflow", class: "wide", cell: (item) => [h("a.strong", { href: view.link(`code/${item.name}`) }, item.name), h("span.told.muted", item.description)] },
    { title: "Schedule", class: "tight code", cell: (item) => item.schedule ?? "–" },
    { title: "Where", class: "tight code", cell: (item) => where(item.source) },
    { title: "Version", class: "tight code", cell: (item) => item.version },
  ] });

  async function look() {
    const { workflows, failures } = await api.get("/workflows", { signal: view.signal });
    table.show(workflows);
    const now = JSON.stringify(failures);
    if (now === told) return;
    told = now;
    put(broken, failures.map(failure));
  }

  await look();
  every(1000, view.signal, look);
  return h("section", head({ title: "Workflows", lead: "What executors have imported. A file that is saved shows here within two seconds under runlane up --reload." }),
    broken, table.element);
}

function failure({ file, message, traceback, at }) {
  return h("article.card.padded.bad", { "aria-label": `${file} failed to import` }, h("h2", `${file} failed to import`), h("p", message), h("p.muted", time(at)),
    frames(framesOf(traceback, file).slice(-1)),
    traceback ? h("details", { open: true }, h("summary", "Traceback"), h("pre.code", traceback)) : h("p.muted", "Its traceback needs the permission canViewInternals."));
}

/** file:line, as editors take it. */
export const where = (source) => (source?.file ? `${source.file}:${source.line}` : "–");
