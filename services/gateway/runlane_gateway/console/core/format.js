// Times in the organisation's zone, durations, numbers: as people read them.

import { session } from "./session.js";

const formats = new Map();

function format(zone, options) {
  const key = zone + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options }));
  return formats.get(key);
}

/** "23 Nov, 12:04:09" in the organisation's zone; with the year where it is not this one. */
export function moment(text, { zone = session.zone } = {}) {
  if (!text) return "–";
  const at = new Date(text);
  const year = at.getUTCFullYear() === new Date().getUTCFullYear() ? {} : { year: "numeric" };
  return format(zone, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", ...year }).format(at);
}

/** "12:04:09.123". */
export function clock(text) {
  return text ? format(session.zone, { hour: "2-digit", minute: "2-digit", second: "2-digit",
    fractionalSecondDigits: 3 }).format(new Date(text)) : "–";
}

/** "just now", "4 min ago", "in 2 h". */
export function ago(text, now = Date.now()) {
  if (!text) return "–";
  const seconds = (new Date(text) - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const words = size < 60 ? `${Math.round(size)} s` : size < 3600 ? `${Math.round(size / 60)} min`
    : size < 172800 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} days`;
  return seconds < 0 ? `${words} ago` : `in ${words}`;
}

/** Milliseconds as "12 ms", "1.2 s", "3 min 20 s". */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60000);
  if (minutes < 60) return `${minutes} min ${Math.round((ms % 60000) / 1000)} s`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.round(minutes / 1440)} days`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A workflow's name as a title: "user_onboarding" → "User onboarding". */
export function titled(name) {
  const text = name.replaceAll("_", " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Local date and time of a zone ("2026-11-23T09:00") as an instant in UTC. */
export function instant(local, zone = session.zone) {
  const wanted = Date.parse(`${local}Z`);
  let guess = wanted;
  for (let round = 0; round < 2; round += 1) guess = wanted - (wall(guess, zone) - guess);
  return new Date(guess).toISOString();
}

/** An instant as the local date and time of a zone, for inputs. */
export function local(text, zone = session.zone) {
  return new Date(wall(Date.parse(text), zone)).toISOString().slice(0, 16);
}

function wall(instantMs, zone) {
  const parts = Object.fromEntries(format(zone, { hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit",
    minute: "2-digit", second: "2-digit" })
    .formatToParts(new Date(instantMs)).map((part) => [part.type, part.value]));
  return Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second);
}
