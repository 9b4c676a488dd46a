// One execution as it happens: what came of it first, then time line, log, data. Technicians and operators share it.

import { announce, api, ask, at, copy, deciding, duration, every, facts, h, json, Live, nameOf, put, REASON, session,
  status, terms, time, titled, toast, wordOf } from "../page.js";
import { advice } from "../parts/advice.js";
import { curl } from "../parts/curl.js";
import { frames, framesOf } from "../parts/frames.js";
import { icon } from "../parts/icons.js";
import { log } from "../parts/log.js";
import { Tabs } from "../parts/tabs.js";
import { waterfall } from "../parts/waterfall.js";

const SECOND = 1000;
const LOST = "The connection is lost. It goes on by itself where it stopped.";
const WAITS = { Queued: "Waits for an executor", Scheduled: "Waits for its time", PendingApproval: "Waits for an approval",
  Retrying: "Failed; it tries again", Suspended: "Waits" };

export async function render(view) {
  const page = new Page(view);
  const live = new Live(view.params.id, view.signal, (news) => page.show(news));
  await live.open();
  page.show(live);
  every(SECOND, view.signal, async () => page.tick());
  return page.element;
}

class Page {
  #told = null;
  #parts = new Map();

  constructor(view) {
    this.view = view;
    this.status = status("Queued");
    this.title = h("h1", "Execution");
    this.facts = h("p.muted.facts-line");
    this.actions = h("div.actions");
    this.bar = h("progress", { max: 100, "aria-label": "Progress" });
    this.barText = h("span.muted");
    this.progress = h("div.progress", this.bar, this.barText);
    this.outcome = h("div.outcome");
    this.log = log();
    this.waterfall = waterfall();
    this.data = h("div.stack");
    this.calls = h("div.stack");
    this.tabs = new Tabs(view, [
      ["log", "Log", () => this.log], ["timeline", "Timeline", () => this.waterfall], ["data", "Data", () => this.data],
      ["call", "As a call", () => this.calls],
    ]);
    this.offline = h("p.notice", { hidden: true, role: "status" }, LOST);
    this.element = h("section.full", h("header.page",
      h("p.crumbs", h("a", { href: view.link("executions") }, "Executions"), " / ", h("code", view.params.id), " ",
        h("button.plain", { "aria-label": "Copy the id", title: "Copy the id",
          onclick: () => copy(view.params.id, "Id copied") }, icon("copy"))),
      h("div.row", this.title, this.status, h("div.grow"), this.actions), this.facts),
    this.offline, this.progress, this.outcome, this.tabs.element);
    view.onQuery = () => { this.tabs.read(); this.show(this.live); };
  }

  show(live) {
    this.live = live;
    const { head } = live;
    if (!live.finished) this.outcome.className = "outcome live";
    this.status.setAttribute("state", head.status);
    put(this.title, titled(head.workflowName));
    this.#once("facts", [head.startedAt, head.completedAt, head.attempt, head.cancelledBy], () => put(this.facts, this.#facts(head)));
    this.#once("actions", [head.status], () => put(this.actions, this.#buttons(head)));
    this.#progress(head);
    this.#once("outcome", [head.status, head.result, head.error, head.message, head.approval, head.internal, head.resumesAt],
      () => put(this.outcome, this.#outcome(head)));
    this.offline.hidden = live.finished || !(live.lost || live.problem);
    put(this.offline, live.problem ? `It is not followed any more: ${live.problem.message}` : LOST);
    this.#fill(live);
    this.#say(head);
  }

  /** What runs grows on the time line, also while it says nothing. */
  tick() { if (this.tabs.current === "timeline" && !this.live.finished) this.waterfall.execution = this.live; }

  /** Draw a part again only when what it shows has changed, so that nothing flickers or loses the focus. */
  #once(name, what, draw) {
    const told = JSON.stringify(what);
    if (this.#parts.get(name) === told) return;
    this.#parts.set(name, told);
    draw();
  }

  #fill(live) {
    this.log.dropped = live.dropped.reduce((sum, one) => sum + (one.what === "log" ? one.count : 0), 0);
    this.log.lines = live.logs;
    this.tabs.count("log", live.logs.length);
    this.tabs.count("timeline", live.steps.length + live.calls.length);
    if (this.tabs.current === "timeline") this.waterfall.execution = live;
    if (this.tabs.current === "data") this.#once("data", [live.variables, live.checkpoints.length, live.steps.length, live.head.input,
      live.dropped], () => put(this.data, data(live)));
    if (this.tabs.current === "call") this.#once("call", [live.head.input], () => put(this.calls, this.#call(live.head)));
  }

  #say(head) {
    const told = `${wordOf(head.status)}${head.progress && !this.live.finished ? `, ${Math.floor(head.progress / 10) * 10} %` : ""}`;
    if (this.#told !== null && this.#told !== told) announce(told);
    this.#told = told;
  }

  #facts(head) {
    const trigger = head.trigger.reference && head.trigger.kind === "retry"
      ? ["retry of ", h("a", { href: this.view.link(`executions/${head.trigger.reference}`) }, head.trigger.reference.slice(-8))]
      : [head.trigger.kind, head.trigger.reference ? ` ${head.trigger.reference}` : ""];
    return [
      ["By ", nameOf(head.executedBy), " (", trigger, ")"],
      ["Queued ", time(head.queuedAt)],
      head.startedAt && ["Started ", time(head.startedAt)],
      head.durationMs !== null && head.durationMs !== undefined && ["Took ", duration(head.durationMs)],
      head.attempt > 1 && [`Attempt ${head.attempt}`],
      head.cancelledBy && ["Cancelled by ", nameOf(head.cancelledBy)],
      head.tags?.length && head.tags.map((tag) => h("span.tag", tag)),
    ].filter(Boolean).map((parts) => h("span", parts));
  }

  #progress(head) {
    const known = typeof head.progress === "number";
    this.progress.dataset.status = head.status;
    this.progress.hidden = this.live.finished && head.status !== "Success";
    if (known || this.live.finished) this.bar.value = head.status === "Success" ? 100 : head.progress ?? 0;
    else this.bar.removeAttribute("value");
    put(this.barText, this.live.finished ? "Done" : [known ? `${Math.round(head.progress)} %` : WAITS[head.status] ?? "Runs",
      head.progressMessage].filter(Boolean).join(" · "));
  }

  #buttons(head) {
    const { view } = this;
    const again = session.can("canExecuteWorkflows") && h("a.button",
      { href: view.link(`run/${formOf(head)}`, { from: head.executionId }) }, icon("pen"), "Change and run");
    if (!this.live.finished) return session.can("canManageExecutions")
      ? h("button.button.danger", { onclick: () => this.#cancel(head) }, icon("stop"), "Cancel…") : null;
    return [again, session.can("canManageExecutions") ? h("button.button.primary",
      { onclick: (event) => this.#retry(event.currentTarget, head) }, icon("again"), "Run again") : null];
  }

  #cancel(head) {
    return ask({
      title: `Cancel ${titled(head.workflowName)}?`, text: "It is stopped where it is. What it has done already stays done.",
      fields: [REASON], verb: "Cancel it", tone: "danger",
      async act({ reason }) {
        await api.post(at`/executions/${head.executionId}/cancel`, { reason: reason.trim() || null });
        toast("Cancelled");
      },
    });
  }

  async #retry(button, head) {
    button.disabled = true;
    try {
      const { executionId } = await api.post(at`/executions/${head.executionId}/retry`, undefined,
        { headers: { Prefer: "respond-async", "Idempotency-Key": crypto.randomUUID() } });
      this.view.go(`executions/${executionId}`);
    } catch (problem) {
      toast(problem.message, { tone: "bad" });
      button.disabled = false;
    }
  }

  #outcome(head) {
    if (head.status === "PendingApproval" && head.approval) return this.#approval(head);
    if (head.error && this.live.finished) return error(head, this.view);
    if (head.status === "Success") return h("div.card.padded.good", h("h2", "Result"),
      head.result === null || head.result === undefined ? h("p.muted", "It returned nothing.") : facts(head.result));
    if (head.status === "Cancelled") return h("div.card.padded", h("h2", "Cancelled"), h("p", head.message ?? "Somebody stopped it."));
    return h("div.card.padded", h("h2", "Result"), head.resumesAt ? h("p", "It goes on ", time(head.resumesAt, { since: true }), ".")
      : h("p.muted", "Shows up here when it has ended."),
      head.error ? h("p.bad", `The last attempt failed: ${head.error}: ${head.message ?? ""}`) : null);
  }

  #approval(head) {
    return h("div.card.padded.ask", h("h2", "Waits for an approval"),
      h("p", head.approval.message ?? "It starts as soon as it is approved."),
      h("p.muted", "Expires ", time(head.approval.expiresAt, { since: true })), terms(head.approval), deciding(head, head.approval));
  }

  #call(head) {
    const block = (title, text) => h("section", h("div.row", h("h2", title), h("div.grow"),
      h("button.button", { onclick: () => copy(text) }, icon("copy"), "Copy as curl")), h("pre.code", text));
    return [block("Run it again", curl(at`/workflows/${head.workflowName}`, head.orgId, head.input ?? {})),
      block("Read its record", curl(at`/executions/${head.executionId}`, head.orgId)),
      h("p.muted", "What is secret is masked here: put the true values in its place.")];
  }
}

const formOf = (head) => (head.trigger.kind === "form" && head.trigger.reference ? head.trigger.reference : head.workflowName);

/** The lines of the author's code that it went through; filled in once it is known where that code lies. */
function raised(head, view) {
  const place = h("div.raised");
  view.get(at`/workflows/${head.workflowName}`).then(({ source }) => {
    const list = framesOf(head.internal.traceback, source.file);
    if (list.length) put(place, h("h3", "Where"), frames(list.slice(-1), view.link(`code/${head.workflowName}`, { failure: head.executionId })));
  }).catch(() => {});
  return place;
}

function error(head, view) {
  const details = head.details && Object.keys(head.details).length ? facts(head.details) : null;
  const what = advice(head.error);
  return h("div.card.padded.bad", { role: "group", "aria-label": "Error" }, h("h2", head.error), h("p.lead", head.message ?? ""), details,
    what ? [h("h3", "What to do"), h("p", what)] : null,
    head.internal?.traceback ? raised(head, view) : null,
    head.internal ? h("details", h("summary", "Internal"), h("p", `${head.internal.type}: ${head.internal.message}`),
      h("pre.code", head.internal.traceback ?? "")) : null);
}

function data(live) {
  const part = (title, node) => h("section", h("h2", title), node);
  return [
    part("Input", live.head.input ? facts(live.head.input) : h("p.muted", "None.")),
    Object.keys(live.variables).length ? part("Variables", facts(live.variables)) : null,
    live.checkpoints.length ? part("Checkpoints", h("dl.facts",
      live.checkpoints.slice(-200).map((mark) => h("div", h("dt", mark.name), h("dd", json(mark.data)))))) : null,
    live.steps.length ? part("Steps", h("dl.facts", live.steps.slice(-200).map((step) => h("div", h("dt", step.name),
      h("dd", json(step.result)))))) : null,
    live.dropped.length ? h("p.notice", live.dropped.map((one) => `${one.count} ${one.what} were counted and not kept. `)) : null,
  ];
}
