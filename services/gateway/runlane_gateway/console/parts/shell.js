// The frame: navigation, the organisation at hand and how to change it, who is signed in.

import { api } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { every } from "../core/every.js";
import { address } from "../core/router.js";
import { session } from "../core/session.js";
import { groups, home, pages } from "../pages/index.js";
import { icon } from "./icons.js";
import { switchOrg } from "./orgs.js";
import { nextTheme, theme } from "./theme.js";
import { announce } from "./toast.js";

const INBOX_MS = 15000;

/** `element` is the whole frame, `main` where pages go. `close()` when another takes its place. */
export class Shell {
  #links = new Map();
  #closing = new AbortController();

  constructor({ signOut }) {
    this.main = h("main", { id: "main" });
    this.badge = h("span.badge", { hidden: true });
    this.nav = h("nav.side", { id: "side", "aria-label": "Pages" }, this.#groups());
    this.menu = h("button.plain.menu", { "aria-expanded": "false", "aria-controls": "side", "aria-label": "Menu",
      onclick: () => this.#toggle() }, icon("menu"));
    this.element = h("div.shell", h("a.skip", { href: "#main", onclick: (event) => this.#skip(event) }, "To the content"),
      h("header.top", this.menu, h("a.brand", { href: address(session.org.id, home()), "aria-label": "Runlane, start page" },
        h("span.mark", { "aria-hidden": "true" }), h("span.word", "Runlane")),
        this.#org(), h("div.grow"), this.#theme(), this.#who(signOut)),
      this.nav, this.main);
    if (session.can("canViewExecutions")) this.#watchInbox();
  }

  close() { this.#closing.abort(); }

  /** Mark where we are, and close the menu of small screens. */
  entered(page) {
    for (const [path, link] of this.#links) {
      if (path === page?.path || path === page?.under) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.#toggle(false);
  }

  #groups() {
    return groups.map(([name, title]) => {
      const shown = pages.filter((page) => page.nav?.group === name && (!page.nav.permission || session.can(page.nav.permission)));
      return shown.length ? h("div.group", h("h2", title), h("ul", shown.map((page) => h("li", this.#link(page))))) : null;
    });
  }

  #link(page) {
    const link = h("a", { href: address(session.org.id, page.path) }, icon(page.nav.icon), h("span", page.nav.title),
      page.path === "approvals" ? this.badge : null);
    this.#links.set(page.path, link);
    return link;
  }

  #org() {
    const name = h("span.name", session.org.name);
    if (session.orgs.length < 2) return h("div.org", { title: `Organisation ${session.org.id}` }, icon("org"), name);
    return h("button.org", { "aria-haspopup": "dialog", "aria-label": `Organisation ${session.org.name}. Switch`,
      onclick: switchOrg }, icon("org"), name, icon("down"));
  }

  #theme() {
    const label = () => `Colours: ${theme()}`;
    const button = h("button.plain", { "aria-label": label(), title: label(),
      onclick() { nextTheme(); button.title = label(); button.setAttribute("aria-label", label()); announce(label()); } }, icon("sun"));
    return button;
  }

  #who(signOut) {
    const name = session.me.name || session.me.email || session.me.id;
    return h("div.who", h("span.name", { title: [session.me.email, session.me.id].filter(Boolean).join(" · ") }, name),
      h("button.plain", { "aria-label": "Sign out", title: "Sign out", onclick: signOut }, icon("exit")));
  }

  #toggle(open = this.menu.getAttribute("aria-expanded") !== "true") {
    this.menu.setAttribute("aria-expanded", String(open));
    this.element.classList.toggle("menu-open", open);
    if (open) this.nav.querySelector("a")?.focus();
  }

  #skip(event) {
    event.preventDefault();
    const heading = this.main.querySelector("h1") ?? this.main;
    heading.tabIndex = -1;
    heading.focus();
  }

  #watchInbox() {
    const { signal } = this.#closing;
    every(INBOX_MS, signal, async () => {
      const { approvals, next } = await api.get("/approvals", { query: { limit: 20 }, signal });
      this.badge.hidden = !approvals.length;
      put(this.badge, next ? "20+" : String(approvals.length));
      this.badge.setAttribute("aria-label", `${approvals.length} waiting`);
    });
  }
}
