// The beginning: who is signed in, the frame around the pages, which page the address asks for.

import { api, at, ApiError, onUnauthorized } from "./core/api.js";
import { h, put } from "./core/dom.js";
import { address, readAddress, Router } from "./core/router.js";
import { forget, keep, lastOrg, rememberOrg, session } from "./core/session.js";
import { home, pages } from "./pages/index.js";
import { signIn } from "./pages/sign-in.js";
import { arrive } from "./parts/provider.js";
import { Shell } from "./parts/shell.js";
import { applyTheme } from "./parts/theme.js";
import { announce, mountToasts } from "./parts/toast.js";

const app = document.getElementById("app");
let shell = null;
let router = null;

function showSignIn(why = "") {
  router?.leave();
  forget();
  shell?.close();
  shell = router = null;
  document.querySelectorAll("dialog").forEach((element) => element.close());
  document.title = "Sign in · Runlane";
  put(app, signIn({ why, entered(key) { keep(key); begin(); } }));
}

async function begin() {
  try {
    session.orgs = await firstOrgs();
    await show();
  } catch (problem) {
    if (problem.status !== 401) put(app, unreachable(problem));
  }
}

async function firstOrgs() {
  const { organizations } = await api.get("/orgs", { query: { limit: 200 }, org: null });
  return organizations;
}

/** What the address says; without an organisation, the one that was looked at last. */
async function show() {
  const place = readAddress();
  const org = place.org || known(lastOrg()) || session.orgs[0]?.id;
  if (!org) return put(app, lonely("You are in no organisation",
    "Your key is valid, and there is no organisation that it may act in. Whoever made it can change that."));
  if (session.org?.id !== org) await enter(org);
  if (!session.org) return undefined;
  if (!place.org || !place.path.length) return location.replace(address(org, home()));
  return router.show(place);
}

const known = (id) => (session.orgs.some((org) => org.id === id) ? id : null);

async function enter(org) {
  router?.leave();
  try {
    [session.org, session.me] = await Promise.all([api.get(at`/orgs/${org}`, { org: null }), api.get("/me", { org })]);
  } catch (problem) {
    if (problem.status === 401) return;
    session.org = null;
    if (!(problem instanceof ApiError) || problem.status !== 404) throw problem;
    put(app, lonely("There is no such organisation", "It may have been removed, or it is not yours."));
    return;
  }
  rememberOrg(org);
  shell?.close();
  shell = new Shell({ signOut: () => showSignIn() });
  put(app, shell.element);
  router = new Router(shell.main, pages, { org, announce, entered: (page) => shell.entered(page) });
}

function lonely(title, text) {
  return h("main.lonely", h("h1", title), h("p", text), h("p", h("a", { href: "#/" }, "To the start")),
    h("button.button", { onclick: () => showSignIn() }, "Sign out"));
}

function unreachable(problem) {
  return h("main.lonely", h("h1", "The console cannot start"), h("p", { role: "alert" }, problem.message),
    h("div.actions", h("button.button.primary", { onclick: () => location.reload() }, "Try again"),
      h("button.button", { onclick: () => showSignIn() }, "Sign out")));
}

applyTheme();
mountToasts();
onUnauthorized(() => { if (session.key) showSignIn("Your session has ended: the key is not valid any more."); });
addEventListener("hashchange", () => { if (session.key) show().catch((problem) => put(app, unreachable(problem))); });
// What was asked for by a page that was left meanwhile: nobody waits for it.
addEventListener("unhandledrejection", (event) => { if (event.reason?.name === "AbortError") event.preventDefault(); });
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, dialog")) return;
  const search = document.querySelector("[data-search]");
  if (search) { event.preventDefault(); search.focus(); }
});
arrive().then((token) => {
  if (token) keep(token);
  if (session.key) begin();
  else showSignIn();
}, (problem) => (session.key ? begin() : showSignIn(problem.message)));
