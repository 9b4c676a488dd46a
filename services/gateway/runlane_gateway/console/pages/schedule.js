// One schedule: its next fires with what daylight saving does to them, what became of past ticks and why, pause, run now.

import { api, ask, at, button, every, h, head, moment, put, session, Table, time, titled, toned, trail } from "../page.js";
import { pauser } from "./schedules.js";

const TONES = { fired: "good", late: "ask", caught_up: "ask", skipped: "calm", missed: "bad" };
const AHEAD = 100;

export async function render(view) {
  const name = view.params.workflow;
  const path = at`/schedules/${name}`;
  const buttons = h("div.actions");
  const fires = h("div.card.padded");
  const older = h("button.button", { onclick: () => turn() }, "Older");
  let after = null;
  let shown = [];
  const ticks = new Table({ caption: "Past ticks", key: (tick) => tick.scheduledFor, empty: "It has not been due yet.", columns: [
    { title: "Outcome", cell: (tick) => toned(tick.outcome, TONES) },
    { title: "Due", cell: (tick) => time(tick.scheduledFor) },
    { title: "Why", class: "wide", cell: (tick) => tick.reason ?? "" },
    { title: "Execution", class: "code", cell: (tick) => (tick.executionId
      ? h("a", { href: view.link(`executions/${tick.executionId}`) }, tick.executionId.slice(-8)) : "–") },
  ] });

  async function again() {
    const [schedule, preview, page] = await Promise.all([view.get(path),
      view.get(`${path}/preview`, { count: AHEAD }), view.get(`${path}/ticks`)]);
    put(buttons, actions(view, schedule, again));
    put(fires, upcoming(schedule, preview));
    const known = new Set(page.ticks.map((tick) => tick.scheduledFor));
    if (!shown.length) after = page.next;
    shown = [...page.ticks, ...shown.filter((tick) => !known.has(tick.scheduledFor))];
    show();
  }

  async function turn() {
    const page = await view.get(`${path}/ticks`, { after });
    after = page.next;
    shown = [...shown, ...page.ticks];
    show();
  }

  function show() {
    ticks.show(shown);
    older.hidden = !after;
  }

  await again();
  every(10000, view.signal, again);
  return h("section.medium", trail(view, "schedules", "Schedules", h("code", name)),
    head({ title: titled(name), actions: [buttons] }), fires, h("h2", "What became of past ticks"), ticks.element, h("nav.pager", older));
}

function actions(view, schedule, again) {
  const run = button("Run now", async () => {
    const { executionId } = await api.post(at`/schedules/${schedule.workflow}/run`);
    view.go(`executions/${executionId}`);
  }, { tone: "primary" });
  return session.can("canManageConfig") ? [run, pauser(schedule, again), button("Change…", () => change(schedule, again))] : run;
}

function change(schedule, again) {
  return ask({ title: `When ${schedule.workflow} runs`, verb: "Save", text: "For this organisation only. Empty goes back to what the workflow says.",
    fields: [{ name: "schedule", label: "Cron expression", value: schedule.schedule, help: "minute hour day month weekday" },
      { name: "timeZone", label: "Clock", value: schedule.timeZone, help: "UTC, org, or a zone such as Europe/Berlin" }],
    async act(values) {
      await api.put(at`/schedules/${schedule.workflow}`, { schedule: values.schedule || null, timeZone: values.timeZone || null });
      await again();
    } });
}

function upcoming(schedule, preview) {
  const rows = preview.fires.slice(0, 5).map((fire, index) => h("li", time(fire),
    preview.zone === session.zone ? null : h("span.muted", ` (${moment(fire, { zone: preview.zone })} by the clock of ${preview.zone})`),
    notes(preview, index).map((note) => h("p.notice", note))));
  const later = preview.fires.findIndex((_, index) => index >= 5 && notes(preview, index).length);
  return [h("h2", schedule.enabled ? "The next five times" : "Paused. It would run"),
    h("p.muted", h("code", preview.schedule), ` by the clock of ${preview.zone}; shown in ${session.zone}`),
    rows.length ? h("ol.fires", rows) : h("p", "Never."),
    later > 0 ? h("p.muted", `Later: ${notes(preview, later)[0]}`) : null];
}

/** What daylight saving does before this fire, by the clock that the schedule goes by and by the one that is shown. */
function notes(preview, index) {
  if (!index) return [];
  return [...new Set([preview.zone, session.zone])].map((zone) => {
    const [before, now] = [offset(preview.fires[index - 1], zone), offset(preview.fires[index], zone)];
    return before === now ? null : `The clocks of ${zone} change before ${moment(preview.fires[index], { zone })}: ${before} becomes ${now}.`;
  }).filter(Boolean);
}

function offset(text, zone) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "longOffset" }).formatToParts(new Date(text))
    .find((part) => part.type === "timeZoneName").value.replace("GMT", "UTC");
}
