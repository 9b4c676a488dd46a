// Signing in through an identity provider: away with a challenge, back with a code. The verifier stays in this tab.

import { api, at } from "../core/api.js";

const BEGUN = "runlane.sign-in";

/** Leads the browser to the provider. What is kept meanwhile: verifier, state, and where somebody wanted to go. */
export async function leave(provider) {
  if (!crypto.subtle) throw new Error("The browser signs people in over https, or on this machine, only.");
  const [verifier, state] = [random(), random()];
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  sessionStorage.setItem(BEGUN, JSON.stringify({ provider, verifier, state, place: location.hash }));
  location.assign(`/sign-in/${encodeURIComponent(provider)}?${new URLSearchParams({ challenge: written(hash), state })}`);
}

/** Whoever comes back from a provider: resolves to the token, or null for everybody else. Raises what went wrong. */
export async function arrive() {
  const given = new URLSearchParams(location.search);
  if (!given.has("code") && !given.has("error")) return null;
  const begun = JSON.parse(sessionStorage.getItem(BEGUN) ?? "null");
  sessionStorage.removeItem(BEGUN);
  history.replaceState(null, "", `/${begun?.place ?? ""}`);
  if (!begun || given.get("state") !== begun.state) throw new Error("This sign-in was not begun in this tab. Begin again.");
  if (given.has("error")) throw new Error(`The identity provider says: ${given.get("error_description") ?? given.get("error")}`);
  const { token } = await api.post(at`/sign-in/${begun.provider}`, { code: given.get("code"), verifier: begun.verifier },
    { org: null, key: "" });
  return token;
}

/** [{name, title}]; none where the gateway trusts none. */
export const providers = async () => (await api.get("/sign-in", { org: null, key: "" })).providers;

const random = () => written(crypto.getRandomValues(new Uint8Array(32)));
const written = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
