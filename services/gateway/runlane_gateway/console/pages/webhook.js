// One webhook: where deliveries go, its settings, two live secrets while rotating, deliveries and their replay.

import { api, ask, at, button, copier, facts, h, listing, put, reveal, session, time, titled, toned, trail } from "../page.js";
import { stateOf } from "./webhooks.js";

const SCHEMES = ["secret", "standard", "github", "slack", "shopify", "msgraph"];
const OUTCOMES = ["accepted", "duplicate", "refused", "handshake"];
const SETTINGS = ["enabled", "scheme", "header", "toleranceSeconds", "dedupe", "deliveryHeader", "ratePerMinute", "burst", "bodyAs", "headersAs", "headers"];
const TONES = { accepted: "good", refused: "bad" };

export async function render(view) {
  const name = view.params.workflow;
  const path = at`/webhooks/${session.org.id}/${name}`;
  const buttons = h("div.actions");
  const card = h("div.card.padded");

  async function show(given) {
    const hook = given ?? await view.get(path);
    put(buttons, actions(path, hook, changed));
    put(card, told(hook));
  }

  /** What a change has answered; a secret that was made is in this answer and in no other. */
  async function changed(hook) {
    await show(hook);
    if (hook?.secret) await reveal("The new secret", hook.secret);
    return hook ?? true;
  }

  await show();
  const { section } = await listing(view, {
    heading: { title: titled(name), actions: [buttons] },
    source: { path: `${path}/deliveries`, field: "deliveries" }, filters: [{ name: "outcome", label: "Outcome", options: OUTCOMES }],
    build: (again) => ({ key: (item) => item.id, empty: "No delivery has come.", columns: [
      { title: "Outcome", cell: (item) => toned(item.outcome, TONES) },
      { title: "Delivery", class: "wide", cell: (item) => [item.executionId ? h("a.code", { href: view.link(`executions/${item.executionId}`) },
        item.executionId.slice(-8)) : null, item.reason ? h("span.told", item.reason) : null] },
      { title: "When", cell: (item) => time(item.at) },
      { title: "From", cell: (item) => item.address ?? "–" },
      { title: "Bytes", class: "number", cell: (item) => item.sizeBytes },
    ], actions: (item) => (item.outcome === "accepted" ? replay(view, path, item, again) : null) }),
  });
  section.querySelector("header.page").after(card, h("h2", "Deliveries"));
  section.prepend(trail(view, "webhooks", "Webhooks", h("code", name)));
  return section;
}

function told(hook) {
  const address = new URL(hook.url, location.href).href;
  return [hook.problems.map((problem) => h("p.notice", problem)),
    h("div.row", h("code", address), copier(address)),
    facts({ State: stateOf(hook), Scheme: hook.scheme, "Secret in header": hook.scheme === "secret" ? hook.header : "–",
      "Rate per minute": hook.ratePerMinute, "At once": hook.burst, "Tolerance in seconds": hook.toleranceSeconds, "Known again by": hook.dedupe }),
    h("h3", "Live secrets"), hook.secrets.length ? h("ul", hook.secrets.map((secret) => h("li", h("code", secret.id), " since ", time(secret.createdAt),
      secret.expiresAt ? [", ends ", time(secret.expiresAt)] : null))) : h("p.muted", "None.")];
}

function actions(path, hook, changed) {
  const settings = Object.fromEntries(SETTINGS.map((name) => [name, hook[name]]));
  const save = button(hook.configured ? "Settings…" : "Set up…", () => ask({ title: "Settings of the webhook", verb: "Save", fields: [
    { name: "enabled", label: "Accepts deliveries", type: "checkbox", value: hook.enabled },
    { name: "scheme", label: "How senders prove who they are", type: "select", options: SCHEMES, value: hook.scheme },
    { name: "header", label: "Header of the secret", value: hook.header, required: true },
    { name: "ratePerMinute", label: "Deliveries per minute", type: "number", value: hook.ratePerMinute, required: true },
    { name: "burst", label: "Deliveries at once", type: "number", value: hook.burst, required: true },
    { name: "toleranceSeconds", label: "Age of a signature, in seconds", type: "number", value: hook.toleranceSeconds, required: true }],
    act: async (values) => api.put(path, { ...settings, ...values }) }).then((hook) => hook && changed(hook)), { done: "Saved" });
  if (!hook.secrets.length) return save;
  const turning = hook.secrets.length > 1;
  return [save, turning
    ? button("End the old secret…", () => ask({ title: "End the old secret now", text: "Senders that still use it are refused.", verb: "End it", tone: "danger",
      act: () => api.post(`${path}/rotate/finish`) }).then((hook) => hook && changed(hook)), { done: "Only the new secret counts" })
    : button("Rotate the secret…", () => ask({ title: "Rotate the secret", text: "A new secret is made; the old one counts on for a while.", verb: "Rotate",
      fields: [{ name: "overlapSeconds", label: "The old one counts for so many seconds", type: "number", value: 86400, required: true }],
      act: (values) => api.post(`${path}/rotate`, values) }).then((hook) => hook && changed(hook)))];
}

function replay(view, path, item, again) {
  return button("Replay", async () => {
    const { executionId } = await api.post(path + at`/deliveries/${item.id}/replay`);
    await again();
    view.go(`executions/${executionId}`);
  }, { name: `Replay ${item.id}` });
}
