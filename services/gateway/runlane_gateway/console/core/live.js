// One execution as it happens: its head from GET, what it tells from its events. Told of in one call per frame.

import { api, at } from "./api.js";
import { follow } from "./sse.js";

export const FINISHED = new Set(["Success", "Failed", "Cancelled"]);

const LISTS = { log: "logs", step: "steps", call: "calls", checkpoint: "checkpoints", event: "events", dropped: "dropped" };

/** Watches an execution until it has ended or `signal` aborts; `changed(execution)` after each piece of news. */
export class Live {
  #queued = false;

  constructor(id, signal, changed) {
    Object.assign(this, { id, signal, changed, head: null, lost: false, variables: {} });
    this.#empty();
  }

  #empty() {
    for (const name of Object.values(LISTS)) this[name] = [];
    this.states = [];
  }

  get finished() { return this.head !== null && FINISHED.has(this.head.status); }

  /** Resolves once there is something to show. */
  async open() {
    const record = await api.get(at`/executions/${this.id}`, { signal: this.signal });
    this.#taken(record);
    if (this.finished) this.#whole(record);
    else this.#stream();
  }

  async #stream() {
    const heard = (name, data) => this.#heard(name, data);
    const lost = (is) => { this.lost = is; this.#tell(); };
    try {
      await follow(at`/executions/${this.id}/events`, { signal: this.signal, heard, lost });
    } catch (problem) { this.problem = problem; this.#tell(); }
  }

  #heard(name, data) {
    const list = LISTS[name];
    if (list) this[list].push(data);
    else if (name === "variable") this.variables[data.name] = data.value;
    else if (name === "progress") Object.assign(this.head, { progress: data.percent, progressMessage: data.message });
    else if (name === "state" || name === "queued") this.#moved(data);
    this.#tell();
    return name === "state" && FINISHED.has(data.status);
  }

  #moved(state) {
    this.states.push(state);
    const { status, error = null, message = null, details = null } = state;
    this.head = { ...this.head, status, error, message, details, attempt: state.attempt ?? this.head.attempt };
    if ("result" in state) this.head.result = state.result;
    if (status === "Running") this.head.startedAt ??= state.timestamp;
    if (FINISHED.has(status)) Object.assign(this.head, { completedAt: state.timestamp, durationMs: state.durationMs ?? null });
    if (status === "PendingApproval" || FINISHED.has(status)) this.#again();
  }

  /** What events do not tell: the terms of an approval, who cancelled, what to do about an error. */
  async #again() {
    try {
      const record = await api.get(at`/executions/${this.id}`, { signal: this.signal });
      if (FINISHED.has(record.status) || !this.finished) this.#taken(record);
      this.#tell();
    } catch { /* what the events told stands */ }
  }

  #taken(record) {
    const { logs, steps, integrationCalls, stateSnapshots, events, variables, transitions, dropped, ...head } = record;
    this.head = head;
  }

  #whole(record) {
    this.#empty();
    Object.assign(this, { logs: record.logs, steps: record.steps, calls: record.integrationCalls, checkpoints: record.stateSnapshots,
      events: record.events, variables: record.variables, dropped: record.dropped });
    const first = [{ timestamp: record.queuedAt, status: record.runAt ? "Scheduled" : "Queued" }];
    if (record.startedAt) first.push({ timestamp: record.startedAt, status: "Running", attempt: 1 });
    this.states = [...first, ...record.transitions].sort((one, other) => Date.parse(one.timestamp) - Date.parse(other.timestamp));
    const end = this.states.at(-1);
    if (end?.status !== record.status) this.states.push({ timestamp: record.completedAt, status: record.status });
  }

  #tell() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      if (!this.signal.aborted) this.changed(this);
    });
  }
}
