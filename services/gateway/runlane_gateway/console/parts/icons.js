// Line icons, drawn here. icon("play") is decoration; what it stands for is said in text beside it.

import { s } from "../core/dom.js";

const PATHS = {
  play: "M7 5l12 7-12 7z",
  list: "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
  check: "M5 12.500l4.5 4.500L19 7",
  inbox: "M4 13h5l1.5 3h3L15 13h5M4 13l3-8h10l3 8v6H4z",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l5 5",
  org: "M4 20V6l8-3v17M12 9l8 2v9M3 20h18M8 9h.01M8 13h.01M16 14h.01M8 17h.01",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2M12 20v2M4 12H2M22 12h-2M5 5l1.5 1.500M17.5 17.500L19 19M5 19l1.5-1.500M17.5 6.500L19 5",
  exit: "M14 4h5v16h-5M4 12h11M11 8l4 4-4 4",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  again: "M4 12a8 8 0 1 1 2.5 5.800M4 12V7M4 12h5",
  stop: "M7 7h10v10H7z",
  pen: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  down: "M6 9l6 6 6-6",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4l3 2",
  chart: "M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6",
  key: "M8 11a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM11 12l9-9M16 7l3 3",
  lock: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3",
  hook: "M12 3v9M12 12a4 4 0 1 1-4 4M12 3l3 3M12 3L9 6",
  book: "M5 4h6a2 2 0 0 1 2 2v14a2 2 0 0 0-2-2H5zM19 4h-4a2 2 0 0 0-2 2v14a2 2 0 0 1 2-2h4z",
  alert: "M12 4l9 16H3zM12 10v4M12 17h.01",
  box: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
};

/** An SVG icon of this name. */
export function icon(name) {
  return s("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: PATHS[name] ?? PATHS.box }));
}
