// <rl-waterfall>: an execution over time: waiting, attempts, steps, calls, checkpoints and suspensions, one row each.

import { h, put, s } from "../core/dom.js";
import { clock, duration } from "../core/format.js";
import { FINISHED } from "../core/live.js";
import { toneOf, wordOf } from "./status.js";

const MOST_ROWS = 400;

class Waterfall extends HTMLElement {
  /** A `Live`: what has happened so far. */
  set execution(live) {
    const rows = rowsOf(live);
    const begin = Math.min(...rows.flatMap((row) => row.bars.map((bar) => bar.from)));
    const end = Math.max(begin + 1, ...rows.flatMap((row) => row.bars.map((bar) => bar.to)));
    const shown = rows.slice(0, MOST_ROWS);
    put(this, h("div.axis", { "aria-hidden": "true" }, [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", duration((end - begin) * part)))),
      h("ol", shown.map((row) => line(row, begin, end - begin))),
      rows.length > shown.length ? h("p.muted", `${rows.length - shown.length} more are in the record (GET /executions/{id}).`) : null);
  }
}

customElements.define("rl-waterfall", Waterfall);
export const waterfall = () => h("rl-waterfall");

function rowsOf(live) {
  const now = live.finished ? Date.parse(live.head.completedAt) : Date.now();
  return [stateRow(live, now), ...attemptRows(live, now), ...traceRows(live, now)];
}

/** The state line: each state lasts until the next one. */
function spans(live, now) {
  return live.states.map((state, index) => ({
    ...state, from: Date.parse(state.timestamp), to: Math.max(Date.parse(state.timestamp),
      Date.parse(live.states[index + 1]?.timestamp) || now),
  })).filter((span) => !Number.isNaN(span.from));
}

function stateRow(live, now) {
  const bars = spans(live, now).filter((span) => !FINISHED.has(span.status))
    .map((span) => ({ from: span.from, to: span.to, tone: toneOf(span.status),
      text: [wordOf(span.status), span.reason].filter(Boolean).join(": ") }));
  return { kind: "state", name: "States", bars, text: wordOf(live.head.status) };
}

function attemptRows(live, now) {
  const rows = new Map();
  for (const span of spans(live, now)) {
    if (span.status !== "Running") continue;
    const attempt = span.attempt || 1;
    const row = rows.get(attempt) ?? { kind: "attempt", name: `Attempt ${attempt}`, bars: [] };
    row.bars.push({ from: span.from, to: span.to, tone: "busy",
      text: [span.executor && `in ${span.executor}`, span.reason].filter(Boolean).join(", ") });
    rows.set(attempt, row);
  }
  const ended = FINISHED.has(live.head.status) ? [...rows.values()].at(-1) : null;
  if (ended) ended.bars.at(-1).tone = toneOf(live.head.status);
  return [...rows.values()];
}

function traceRows(live, now) {
  const steps = live.steps.map((step) => slept(step, now) ?? bar("step", step.name, step.timestamp, step.duration_ms, "good"));
  const calls = live.calls.map((call) => bar("call", `${call.integration} ${call.method} ${call.endpoint}`, call.timestamp,
    call.duration_ms, call.success ? "later" : "bad", call.error ?? (call.status_code && `status ${call.status_code}`)));
  const marks = live.checkpoints.map((mark) => ({ ...bar("checkpoint", mark.name, mark.timestamp, 0, "calm"), mark: true }));
  const events = live.events.map((event) => ({ ...bar("event", event.name, event.timestamp, 0, "ask"), mark: true }));
  return [...steps, ...calls, ...marks, ...events].sort((one, other) => one.bars[0].from - other.bars[0].from);
}

/** A wait as what it was: it is stored when it begins, with the time at which it is over. */
function slept(step, now) {
  const until = /^sleep(#\d+)?$/.test(step.name) && !step.duration_ms ? Date.parse(step.result) : NaN;
  return Number.isNaN(until) ? null
    : bar("wait", step.name, step.timestamp, Math.max(0, Math.min(until, now) - Date.parse(step.timestamp)), "later");
}

function bar(kind, name, timestamp, ms, tone, text = "") {
  const from = Date.parse(timestamp);
  return { kind, name, bars: [{ from, to: from + ms, tone, text }] };
}

function line(row, begin, length) {
  const at = (instant) => `${(((instant - begin) / length) * 100).toFixed(3)}%`;
  const shapes = row.bars.map((one) => (row.mark
    ? s("circle", { class: `mark ${one.tone}`, cx: at(one.from), cy: "50%", r: 4 })
    : s("rect", { class: one.tone, x: at(one.from), y: "20%", height: "60%",
      width: `${Math.max(0.15, ((one.to - one.from) / length) * 100).toFixed(3)}%`, rx: 2 }, s("title", told(one)))));
  const took = row.bars.reduce((sum, one) => sum + one.to - one.from, 0);
  const words = [...new Set(row.bars.map((one) => one.text).filter(Boolean))].join(" · ");
  return h("li", { "data-kind": row.kind, title: [row.name, words,
    clock(new Date(row.bars[0]?.from ?? begin).toISOString())].filter(Boolean).join("\n") },
    h("span.label", h("span.kind", row.kind), h("span.name", row.name)),
    s("svg.track", { "aria-hidden": "true", preserveAspectRatio: "none" }, shapes),
    h("span.took", row.mark ? clock(new Date(row.bars[0].from).toISOString()) : duration(took)),
    words ? h("span.unseen", words) : null);
}

function told(one) { return [one.text, duration(one.to - one.from)].filter(Boolean).join(" · "); }
