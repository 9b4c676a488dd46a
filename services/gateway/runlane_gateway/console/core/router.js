// Addresses are #/{organisation}/{page}?{filters}. Shows the page of the address, one at a time.

import { api, parameters } from "./api.js";
import { h, put } from "./dom.js";

/** #/org/path?query → its parts. */
export function readAddress(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [org = "", ...rest] = path.split("/").map(decoded);
  return { org, path: rest.filter(Boolean), query: new URLSearchParams(query) };
}

/** The address of a page: address("demo", "executions/1", {status: ["Failed"]}). */
export function address(org, path = "", query = {}) {
  const text = parameters(query).toString();
  const places = path.split("/").filter(Boolean).map(encodeURIComponent).join("/");
  return `#/${encodeURIComponent(org)}${places && `/${places}`}${text && `?${text}`}`;
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** Finds the page for a path: {page, params}; null where there is none. */
export function match(pages, path) {
  for (const page of pages) {
    const wanted = page.path.split("/");
    if (wanted.length !== path.length) continue;
    const params = {};
    const same = wanted.every((part, index) => {
      if (part.startsWith(":")) params[part.slice(1)] = path[index];
      return part.startsWith(":") || part === path[index];
    });
    if (same) return { page, params };
  }
  return null;
}

/** Shows pages in `outlet`. A page module exports render(view) → node (or a promise of one). */
export class Router {
  #shown = null;
  #key = null;

  constructor(outlet, pages, { org, announce, entered }) {
    Object.assign(this, { outlet, pages, org, announce, entered });
  }

  /** Show what the address says. The same page with other filters is told so, if it wants to know. */
  async show(place) {
    const found = match(this.pages, place.path);
    const key = `${place.org}/${place.path.join("/")}`;
    if (this.#shown && key === this.#key && this.#shown.view.onQuery) {
      this.#shown.view.query = place.query;
      this.#shown.view.onQuery(place.query);
      return;
    }
    this.leave();
    const leaving = new AbortController();
    const view = this.#view(place, found?.params ?? {}, leaving);
    this.#shown = { view, leaving };
    this.#key = key;
    this.entered(found?.page ?? null);
    await this.#fill(found?.page, view, leaving.signal);
  }

  leave() {
    this.#shown?.leaving.abort();
    this.#shown = null;
  }

  async #fill(page, view, signal) {
    try {
      const module = page ? await page.load() : await import("../pages/not-found.js");
      const node = await module.render(view);
      if (signal.aborted) return;
      put(this.outlet, node);
    } catch (problem) {
      if (signal.aborted || problem.name === "AbortError") return;
      put(this.outlet, failed(problem));
    }
    this.#arrived();
  }

  #arrived() {
    const heading = this.outlet.querySelector("h1");
    document.title = `${heading?.textContent ?? "Runlane"} · Runlane`;
    this.announce(heading?.textContent ?? "");
    if (heading && !this.outlet.contains(document.activeElement)) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
    }
    scrollTo(0, 0);
  }

  #view(place, params, leaving) {
    return {
      ...place, params, signal: leaving.signal, onQuery: null,
      get: (path, query) => api.get(path, { query, signal: leaving.signal }),
      link: (path, query) => address(place.org, path, query),
      go: (path, query) => { location.hash = address(place.org, path, query); },
      /** Change the filters in the address; the page's `onQuery` hears of it. */
      filter(query, { replace = false } = {}) {
        const next = address(place.org, place.path.join("/"), query);
        if (!replace) location.hash = next;
        else {
          history.replaceState(null, "", next);
          dispatchEvent(new HashChangeEvent("hashchange"));
        }
      },
    };
  }
}

function failed(problem) {
  const missing = problem.status === 404;
  const title = missing ? "Not found" : "This page could not be shown";
  return h("section.lonely", h("h1", title), h("p", { role: "alert" }, problem.message),
    h("button.button", { onclick: () => location.reload() }, "Try again"));
}
