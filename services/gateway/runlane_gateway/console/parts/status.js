// <rl-status state="Running">: the state of an execution, in colour and words.

import { h, put } from "../core/dom.js";

const TONES = {
  Success: "good", Failed: "bad", Running: "busy", PendingApproval: "ask", Retrying: "later", Suspended: "later", Scheduled: "later",
  Queued: "calm", Cancelled: "calm",
};
const WORDS = { PendingApproval: "Needs approval", Success: "Succeeded" };

export const STATUSES = ["Queued", "Scheduled", "PendingApproval", "Running", "Retrying", "Suspended", "Success", "Failed", "Cancelled"];
export const wordOf = (status) => WORDS[status] ?? status;
export const toneOf = (status) => TONES[status] ?? "calm";

customElements.define("rl-status", class extends HTMLElement {
  static observedAttributes = ["state"];
  attributeChangedCallback(_, before, value) {
    if (before === value) return;
    this.dataset.tone = toneOf(value);
    put(this, h("span.dot", { "aria-hidden": "true" }), wordOf(value));
  }
});

export const status = (value) => h("rl-status", { state: value });

/** A word in the colour that `tones` gives it. */
export const toned = (word, tones) => h("span.tone", { "data-tone": tones[word] ?? "calm" }, word.replace("_", " "));
