// What an approval asks for, and the dialog in which it is given or refused. Used by the inbox and by an execution's page.

import { api, at } from "../core/api.js";
import { h } from "../core/dom.js";
import { count, titled } from "../core/format.js";
import { ask, REASON } from "./ask.js";
import { time } from "./time.js";
import { toast } from "./toast.js";

/** Who may decide, how many have to, who has. */
export function terms(approval) {
  const given = approval.decisions.map((decision) => h("li", `${decision.approved ? "Approved" : "Rejected"} by ${nameOf(decision.by)}`,
    decision.reason ? `: ${decision.reason}` : "", " · ", time(decision.timestamp)));
  const hours = approval.officeHours;
  const told = [
    approval.count > 1 && `${count(approval.count, "person", "people")} have to agree`,
    approval.approvers.length && `Decided by: ${approval.approvers.join(", ")}`,
    !approval.allowOwn && "Not by whoever asked",
    hours && `Approved between ${hours.start} and ${hours.end} (${hours.days.join(", ")}, ${hours.timeZone})`,
  ].filter(Boolean);
  return [told.length ? h("p.muted", told.join(" · ")) : null, given.length ? h("ul.decisions", given) : null];
}

/** Asks for a reason and decides; true when that was done. What was shown is what is decided, or nothing. */
function decide(item, approval, approved) {
  const name = titled(item.workflowName);
  return ask({
    title: approved ? `Approve ${name}?` : `Reject ${name}?`,
    text: approval.message ?? (approved ? "It starts at once." : "It will not run."),
    fields: [REASON],
    verb: approved ? "Approve" : "Reject",
    tone: approved ? "primary" : "danger",
    async act({ reason }) {
      await api.post(at`/executions/${item.executionId}/${approved ? "approve" : "reject"}`,
        { reason: reason.trim() || null, digest: approval.digest });
      toast(approved ? `${name} is approved` : `${name} is rejected`);
      return true;
    },
  });
}

/** The buttons of somebody who may decide; `done` is called once that was done. */
export function deciding(item, approval, done) {
  if (!approval.mayDecide) return h("p.muted", "Deciding is for others, with canApproveExecutions.");
  const act = (approved) => async () => { if (await decide(item, approval, approved)) await done?.(); };
  return h("div.actions", h("button.button.primary", { onclick: act(true) }, "Approve…"), h("button.button.danger", { onclick: act(false) }, "Reject…"));
}

export const nameOf = (who) => who.name ?? who.email ?? who.id;
