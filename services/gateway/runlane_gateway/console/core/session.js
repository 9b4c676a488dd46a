// Who is signed in, what they may do in the organisation at hand. The key is in sessionStorage: it goes with the tab.

const KEY = "runlane.key";
const ORG = "runlane.org";
let key = read(sessionStorage, KEY);

export const session = {
  me: null,
  org: null,
  orgs: [],
  get key() { return key; },
  get zone() { return this.org?.timeZone ?? "UTC"; },
  can(permission) {
    const held = this.me?.permissions ?? [];
    return held.includes("*") || held.includes(permission);
  },
};

export function keep(newKey) {
  key = newKey;
  write(sessionStorage, KEY, newKey);
}

export function forget() {
  key = null;
  Object.assign(session, { me: null, org: null, orgs: [] });
  write(sessionStorage, KEY, null);
}

export function lastOrg() { return read(localStorage, ORG); }
export function rememberOrg(id) { write(localStorage, ORG, id); }

function read(storage, name) {
  try { return storage.getItem(name); } catch { return null; }
}

function write(storage, name, value) {
  try {
    if (value === null) storage.removeItem(name);
    else storage.setItem(name, value);
  } catch { /* a browser that keeps nothing: signed in until the page is left */ }
}
