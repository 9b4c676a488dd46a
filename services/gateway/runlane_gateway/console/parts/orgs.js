// The dialog that changes the organisation: found by name, however many there are.

import { api } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { address } from "../core/router.js";
import { session } from "../core/session.js";
import { dialog } from "./dialog.js";

const SHOWN = 100;
const MOST = 5000;

/** Ask for an organisation and go there. */
export async function switchOrg() {
  const chosen = await dialog("Switch organisation", (close) => body(close));
  if (chosen && chosen !== session.org.id) location.hash = address(chosen);
}

function body(close) {
  const list = h("ul.orgs");
  const told = h("p.muted", { role: "status" });
  const search = h("input", { type: "search", placeholder: "Name, id or tag", "aria-label": "Find an organisation", autofocus: true,
    oninput: show, onkeydown: enter });
  let known = session.orgs;

  function found() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    return known.filter((org) => words.every((word) => `${org.id} ${org.name} ${org.tags.join(" ")}`.toLowerCase().includes(word)));
  }

  function show() {
    const some = found();
    put(told, some.length > SHOWN ? `The first ${SHOWN} of ${some.length}` : `${some.length} of ${known.length}`);
    put(list, some.slice(0, SHOWN).map((org) => h("li", h("button.plain",
      { "aria-current": org.id === session.org.id, onclick: () => close(org.id) },
      h("span", org.name), h("span.muted", org.id)))));
  }

  function enter(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const [first] = found();
    if (first) close(first.id);
  }

  everyOrg().then((all) => { known = session.orgs = all; show(); }).catch(() => {});
  show();
  return h("div.stack", search, told, list);
}

async function everyOrg() {
  const all = [];
  for (let after = null; all.length < MOST;) {
    const page = await api.get("/orgs", { query: { limit: 1000, after }, org: null });
    all.push(...page.organizations);
    if (!(after = page.next)) break;
  }
  return all;
}
