// Where in the author's own code something was raised: the frames of a Python traceback that lie in the workflows' folder.

import { h } from "../core/dom.js";
import { copier } from "./toast.js";

const FRAME = /^ *File "(.+)", line (\d+)(?:, in (.+))?\n(?: {4}(.*)\n)?/gm;

/** [{place: "users.py:12", name, code}], the one that raised last. `file`: the workflow's, below its folder. */
export function framesOf(traceback, file) {
  const all = [...`${traceback ?? ""}\n`.matchAll(FRAME)].map(([, path, line, name, code]) => ({ path, line, name, code }));
  const own = file && all.find(({ path }) => path === file || path.endsWith(`/${file}`));
  if (!own) return [];
  const folder = own.path.slice(0, own.path.length - file.length);
  return all.filter(({ path }) => path.startsWith(folder) && !path.slice(folder.length).startsWith("/") && !path.includes("/site-packages/"))
    .map(({ path, line, name, code }) => ({ place: `${path.slice(folder.length)}:${line}`, name, code }));
}

/** Them as a list, the line that raised first; `href`: where a place leads. */
export function frames(list, href = null) {
  return h("ol.frames", [...list].reverse().map(({ place, name, code }) => h("li",
    h("div.row", href ? h("a", { href }, h("code", place)) : h("code", place), name ? h("span.muted", `in ${name}`) : null,
      copier(place, `Copy ${place}`)),
    code ? h("pre.code", code) : null)));
}
