// How an organisation is doing and what it runs on, live: what an operator looks at first.

import { duration, every, h, head, put, session, wordOf } from "../page.js";
import { chart } from "../parts/chart.js";

const LOOK_MS = 2000;
const SAMPLES = 60;
const WINDOWS = [[15, "15 minutes"], [60, "Hour"], [360, "6 hours"], [1440, "Day"], [10080, "Week"]];
const ENDED = [{ name: "Succeeded", tone: "good" }, { name: "Failed", tone: "bad" }, { name: "Cancelled", tone: "calm" }];
const TOOK = [{ name: "Half took no longer (p50)", tone: "busy" }, { name: "95 % took no longer (p95)", tone: "ask" }];
const LANES = ["busy", "good", "ask", "later"];
const MOST = 10000;
const number = (value) => (value ?? null) === null ? "–" : value.toLocaleString("en");
const seconds = (value) => duration(value === null ? null : value * 1000);

export async function render(view) {
  const page = new Page(view);
  view.onQuery = () => { page.window(); page.look().catch(() => {}); };
  await page.look();
  every(LOOK_MS, view.signal, () => page.look());
  return page.element;
}

class Page {
  #samples = [];
  #tiles = new Map();

  constructor(view) {
    this.view = view;
    this.internals = session.can("canViewInternals");
    this.choice = h("select", { "aria-label": "Time", onchange: () => view.filter({ minutes: this.choice.value }) },
      WINDOWS.map(([minutes, name]) => h("option", { value: minutes }, name)));
    this.problem = h("p.problem", { role: "alert" });
    this.note = h("p.muted.note");
    this.ended = chart();
    this.took = chart();
    this.depth = chart();
    this.lanes = h("tbody");
    this.executors = h("ul.meters");
    this.element = h("section.full", head({ title: "Overview", actions: [this.choice] }), this.problem,
      h("dl.tiles", ...this.#tile("total", "Ended"), ...this.#tile("failed", "Failed", "bad"), ...this.#tile("p50", "p50"), ...this.#tile("p95", "p95"),
        ...this.#tile("Queued", "Queued", "", { status: "Queued" }), ...this.#tile("Running", "Running", "", { status: "Running" }),
        ...this.#tile("PendingApproval", wordOf("PendingApproval"), "", { status: "PendingApproval" }),
        ...this.#tile("ticks", "Late ticks"), ...(this.internals ? this.#tile("behind", "Recorder behind") : [])),
      this.note,
      h("div.charts", card("Ended", this.ended), card("How long it took", this.took),
        this.internals ? [card("Queues of the engine", this.depth, h("div.table", { role: "region", "aria-label": "Lanes", tabindex: 0 }, h("table.lanes",
          h("thead", h("tr", ["Lane", "Waiting", "In an executor", "Oldest waits"].map((title) => h("th", { scope: "col" }, title)))), this.lanes))),
        card("Executors", this.executors)] : null));
    this.window();
  }

  #tile(name, title, tone = "", query = null) {
    const value = h("dd", { class: tone }, "–");
    this.#tiles.set(name, value);
    return [h("div", h("dt", query ? h("a", { href: this.view.link("executions", query) }, title) : title), value)];
  }

  window() { this.choice.value = this.view.query.get("minutes") ?? "60"; }

  async look() {
    try {
      const [told, executors] = await Promise.all([
        this.view.get("/overview", { minutes: this.view.query.get("minutes") ?? 60 }),
        this.internals ? this.view.get("/executors") : { executors: [] }]);
      put(this.problem, "");
      this.#figures(told);
      this.#charts(told);
      if (this.internals) this.#engine(told.engine, executors.executors);
    } catch (refused) {
      if (refused.name !== "AbortError") put(this.problem, refused.message);
      throw refused;
    }
  }

  #figures({ total, unfinished, ticks, complete, engine }) {
    const all = total.succeeded + total.failed + total.cancelled;
    const late = ticks.late + ticks.caughtUp + ticks.missed;
    this.#put("total", number(all));
    this.#put("failed", all ? `${number(total.failed)} · ${((total.failed / all) * 100).toFixed(total.failed && total.failed < all / 10 ? 1 : 0)} %` : "0");
    this.#put("p50", duration(total.p50Ms));
    this.#put("p95", duration(total.p95Ms));
    for (const name of ["Queued", "Running", "PendingApproval"]) this.#put(name, `${number(unfinished[name])}${unfinished[name] >= MOST ? "+" : ""}`);
    this.#put("ticks", `${number(late)} of ${number(late + ticks.fired + ticks.skipped)}`);
    if (this.internals) this.#put("behind", engine ? engine.recorder.behindEvents ? seconds(engine.recorder.behindSeconds) : "Up to date" : "Unknown");
    put(this.note, complete ? `Of the ticks of schedules, ${number(ticks.fired)} came in time, ${number(ticks.late)} late, ${number(ticks.caughtUp)} were caught up, ${number(ticks.skipped)} skipped, ${number(ticks.missed)} missed.`
      : "More ended than is looked at here: the oldest of this time is left out.");
  }

  #put(name, text) { put(this.#tiles.get(name), text); }

  #charts({ parts }) {
    this.ended.data = { title: "Ended", series: ENDED, show: number, parts: parts.map((part) => ({ at: part.at, values: [part.succeeded, part.failed, part.cancelled] })) };
    this.took.data = { title: "How long it took", series: TOOK, show: duration, lines: true, parts: parts.map((part) => ({ at: part.at, values: [part.p50Ms, part.p95Ms] })) };
  }

  /** Queues are as they are: what they were is what this page has seen since it was opened. */
  #engine(engine, executors) {
    const lanes = engine?.lanes ?? [];
    if (lanes.length) this.#samples = [...this.#samples, { at: new Date().toISOString(), values: lanes.map((lane) => lane.waiting) }].slice(-SAMPLES);
    const rest = Array.from({ length: SAMPLES - this.#samples.length }, () => ({ at: this.#samples[0]?.at ?? new Date().toISOString(), values: LANES.map(() => null) }));
    this.depth.data = { title: "Waiting, by lane", series: LANES.map((tone, index) => ({ name: `Lane ${lanes[index]?.lane ?? index}`, tone })), show: number, lines: true,
      parts: [...rest, ...this.#samples] };
    put(this.lanes, lanes.map((lane) => h("tr", h("th", { scope: "row" }, lane.lane), h("td", number(lane.waiting)), h("td", number(lane.taken)),
      h("td", lane.waiting ? seconds(lane.oldestSeconds) : "–"))));
    put(this.executors, executors.length ? executors.map(executor) : h("li", "No executor answers: what is queued waits until one does."));
  }
}

function executor({ executor: name, host, running, slots, draining }) {
  return h("li", h("span", h("code", name), h("span.muted", ` on ${host}${draining ? ", draining" : ""}`)),
    h("meter", { min: 0, max: slots, value: running, "aria-label": `Busy slots of ${name}` }), h("span.number", `${running} of ${slots}`));
}

const card = (title, ...children) => h("section.card.padded", { "aria-label": title }, h("h2", title), children);
