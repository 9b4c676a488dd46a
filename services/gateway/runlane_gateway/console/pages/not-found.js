// For addresses without a page.

import { h } from "../core/dom.js";

export function render(view) {
  return h("section.lonely", h("h1", "There is no such page"), h("p", h("a", { href: view.link("run") }, "Choose something to run")));
}
