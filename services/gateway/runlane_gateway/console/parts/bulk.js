// Cancels or retries everything that a list's filter matches: says how many first, and how far it is meanwhile.

import { api } from "../core/api.js";
import { h, put, uid } from "../core/dom.js";
import { count } from "../core/format.js";
import { dialog } from "./dialog.js";
import { announce } from "./toast.js";

const PAGE = 100;
const SHOWN = 20;
const WORDS = {
  cancel: { title: "Cancel what this filter matches?", verb: "Cancel", past: "cancelled", tone: "danger", none: "Nothing that it matches can be cancelled.",
    text: "They are stopped where they are. What they have done already stays done." },
  retry: { title: "Run again what this filter matches?", verb: "Run again", past: "run again", tone: "primary", none: "Nothing that it matches can be run again.",
    text: "Each runs as a new execution with the same inputs. Where the filter names no status, those that failed or were cancelled." },
};

/** `filter`: as the query of /executions. Resolves when the dialog is closed. */
export function bulk(action, filter) {
  const words = WORDS[action];
  const stopping = new AbortController();
  return dialog(words.title, (close) => new Bulk(words, action, filter, close, stopping.signal).element).finally(() => stopping.abort());
}

class Bulk {
  #after = null;
  #done = 0;
  #refused = [];
  #key = crypto.randomUUID();

  constructor(words, action, filter, close, signal) {
    Object.assign(this, { words, action, filter, signal, of: 0 });
    const id = uid("reason");
    this.told = h("p.lead", { role: "status" }, "Counting…");
    this.bar = h("progress", { "aria-label": "Progress", max: 1, value: 0, hidden: true });
    this.reason = h("input", { id, maxlength: 1000 });
    this.why = h("div.field", { hidden: action !== "cancel" }, h("label", { for: id }, "Reason, kept in the record"), this.reason);
    this.refusals = h("ul");
    this.problem = h("p.problem", { role: "alert" });
    this.go = h(`button.button.${words.tone}`, { type: "submit", disabled: true }, words.verb);
    this.back = h("button.button", { onclick: () => close(true) }, "Back");
    this.element = h("form", { onsubmit: (event) => { event.preventDefault(); this.#run(); } }, h("p", words.text), this.told, this.bar, this.why,
      this.refusals, this.problem, h("footer", this.back, this.go));
    this.#count();
  }

  #ask(more) { return api.post("/executions/bulk", { action: this.action, ...more }, { signal: this.signal }); }

  async #count() {
    try {
      const { count: found, more } = await this.#ask({ filter: this.filter, dryRun: true });
      this.of = found;
      put(this.told, found ? `${count(found, "execution")}${more ? " or more" : ""}.` : this.words.none);
      this.go.disabled = !found;
      if (found) put(this.go, `${this.words.verb} ${found.toLocaleString("en")}${more ? "+" : ""}`);
    } catch (refused) { if (!this.signal.aborted) put(this.problem, refused.message); }
  }

  /** Page after page. After a failure it goes on where it was: what was asked for twice is done once. */
  async #run() {
    this.go.disabled = true;
    this.bar.hidden = false;
    this.why.hidden = true;
    put(this.problem, "");
    put(this.back, "Stop");
    try {
      do {
        const page = await this.#ask({ filter: { ...this.filter, limit: PAGE, after: this.#after }, reason: this.reason.value.trim() || null, key: this.#key });
        this.#done += page.done;
        this.#refused.push(...page.refused);
        this.#after = page.next;
        this.#tell();
      } while (this.#after);
      this.bar.value = 1;
      put(this.back, "Close");
      this.go.hidden = true;
      announce(this.told.textContent);
    } catch (refused) {
      if (this.signal.aborted) return;
      put(this.problem, refused.message);
      put(this.go, "Go on");
      this.go.disabled = false;
    }
  }

  #tell() {
    const tried = this.#done + this.#refused.length;
    this.of = Math.max(this.of, tried);
    this.bar.value = this.of ? tried / this.of : 1;
    put(this.told, `${this.#done.toLocaleString("en")} of ${this.of.toLocaleString("en")} ${this.words.past}${
      this.#refused.length ? `, ${this.#refused.length.toLocaleString("en")} refused` : ""}.`);
    put(this.refusals, this.#refused.slice(0, SHOWN).map((one) => h("li", h("code", one.executionId.slice(-8)), ` ${one.message}`)));
  }
}
