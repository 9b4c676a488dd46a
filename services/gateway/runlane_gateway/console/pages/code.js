// The workflows that executors have imported, and the files that failed to import with their tracebacks.

import { every, h, head, put, Table, time } from "../page.js";
import { frames, framesOf } from "../parts/frames.js";

export async function render(view) {
  const broken = h("div.stack");
  let told = "";
  const table = new Table({ caption: "Workflows", key: (item) => item.name, empty: "No workflow has been imported.", columns: [
    { title: "State", cell: (item) => (item.enabled ? "On" : "Off here") },
    { title: "Workflow", class: "wide", cell: (item) => [h("a.strong", { href: view.link(`code/${item.name}`) }, item.name), h("span.told.muted", item.description)] },
    { title: "Schedule", class: "code", cell: (item) => item.schedule ?? "–" },
    { title: "Where", class: "code", cell: (item) => where(item.source) },
    { title: "Version", class: "code", cell: (item) => item.version },
  ] });

  async function look() {
    const { workflows, failures } = await view.get("/workflows");
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
