// The first page: a key or a token is asked for, tried, and kept for as long as the tab is open.

import { api } from "../core/api.js";
import { h, put, uid } from "../core/dom.js";
import { leave, providers } from "../parts/provider.js";

/** `entered(key)` is called with credentials that the gateway took. `why`: what ended the last session. */
export function signIn({ entered, why = "" }) {
  const id = uid("key");
  const input = h("input", { id, type: "password", name: "key", required: true, autocomplete: "current-password", spellcheck: "false",
    placeholder: "rl_…", "aria-describedby": `${id}-help ${id}-problem` });
  const problem = h("p.problem", { id: `${id}-problem`, role: "alert" }, why);
  const button = h("button.button.primary.large", { type: "submit" }, "Sign in");

  async function submit(event) {
    event.preventDefault();
    const key = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) return refuse(key ? "A key has only letters, digits and signs, without spaces." : "Enter a key.");
    button.disabled = true;
    try {
      await api.get("/me", { key, org: null });
      entered(key);
    } catch (refused) {
      refuse(refused.status === 401 ? "The gateway does not know this key. It may have been revoked, or have expired." : refused.message);
    } finally { button.disabled = false; }
  }

  function refuse(text) {
    put(problem, text);
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  const ways = h("div.ways");
  const go = ({ name, title }) => h("button.button.large", { onclick: () => leave(name).catch((failed) => refuse(failed.message)) },
    `Sign in with ${title}`);
  providers().then((found) => put(ways, found.map(go))).catch(() => {});
  queueMicrotask(() => input.focus());
  return h("main.sign-in", h("form.card", { onsubmit: submit, novalidate: true },
    h("div.brand", h("span.mark", { "aria-hidden": "true" }), "Runlane"),
    h("h1", "Sign in"),
    h("div.field", h("label", { for: id }, "API key or token"), input,
      h("p.help", { id: `${id}-help` },
        "A key that begins with rl_, or a token of your identity provider. It stays in this tab and is forgotten when you close it."),
      problem),
    button, ways));
}
