// Light, dark, or as the system has it; kept in this browser.

const NAME = "runlane.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function theme() {
  try { return localStorage.getItem(NAME) ?? "auto"; } catch { return "auto"; }
}

export function applyTheme(value = theme()) {
  document.documentElement.dataset.theme = value;
}

/** Go on to the next of the three; returns it. */
export function nextTheme() {
  const value = NEXT[theme()] ?? "auto";
  try { localStorage.setItem(NAME, value); } catch { /* for this page only */ }
  applyTheme(value);
  return value;
}
