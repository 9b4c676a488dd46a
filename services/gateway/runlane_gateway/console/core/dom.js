// Elements from calls: h("a.quiet", {href}, "text"). Every string becomes a text node, so no data is ever markup.
// There is no other way to make elements in the console: the policy refuses innerHTML.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "selected", "disabled", "hidden", "open", "indeterminate", "required", "readOnly"]);

/** An element. `name` is "tag.class.class"; attributes that are null or false are left out; `on…` are listeners.
    A button sends no form unless its `type` says so. */
export function h(name, attributes, ...children) {
  const tag = name.split(".", 1)[0];
  const element = document.createElement(tag);
  if (tag === "button") element.type = "button";
  return build(element, name, attributes, children);
}

/** The same in SVG. */
export function s(name, attributes, ...children) {
  return build(document.createElementNS(SVG, name.split(".", 1)[0]), name, attributes, children);
}

function build(element, name, attributes, children) {
  const classes = name.split(".").slice(1);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  if (attributes !== undefined && attributes !== null && !isAttributes(attributes)) children.unshift(attributes);
  else for (const [key, value] of Object.entries(attributes ?? {})) assign(element, key, value);
  element.append(...nodes(children));
  return element;
}

function isAttributes(value) {
  return typeof value === "object" && !(value instanceof Node) && !Array.isArray(value);
}

function assign(element, key, value) {
  if (value === null || value === undefined) return;
  if (key.startsWith("on")) {
    if (typeof value !== "function") throw new TypeError(`${key} takes a function`);
    element.addEventListener(key.slice(2), value);
  } else if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
  else if (key === "href") element.setAttribute("href", harmless(value));
  else if (PROPERTIES.has(key)) element[key] = value;
  else if (value !== false) element.setAttribute(key, value === true && !key.startsWith("aria-") ? "" : value);
}

function harmless(address) {
  return /^(#|\/(?!\/)|https?:\/\/|blob:)/.test(address) ? address : "#";
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Replace what is in an element, and only if it differs when it is one text. */
export function put(element, ...children) {
  if (children.length === 1 && (typeof children[0] === "string" || typeof children[0] === "number")) {
    if (element.textContent !== String(children[0])) element.textContent = String(children[0]);
  } else element.replaceChildren(...nodes(children));
  return element;
}

let counter = 0;
/** An id for a label and what it labels. */
export function uid(prefix = "i") {
  counter += 1;
  return `${prefix}${counter}`;
}
