// What pages are made of, in one place: pages import from here, the parts themselves from one another.

export { api, at, changed } from "./core/api.js";
export { h, put } from "./core/dom.js";
export { every } from "./core/every.js";
export { count, duration, instant, local, moment, titled } from "./core/format.js";
export { FINISHED, Live } from "./core/live.js";
export { session } from "./core/session.js";
export { deciding, nameOf, terms } from "./parts/approval.js";
export { ask, button, REASON, reveal } from "./parts/ask.js";
export { dialog } from "./parts/dialog.js";
export { facts, json } from "./parts/json.js";
export { head, listing, trail } from "./parts/listing.js";
export { status, STATUSES, toned, wordOf } from "./parts/status.js";
export { pager, Table } from "./parts/table.js";
export { time } from "./parts/time.js";
export { announce, copier, copy, toast } from "./parts/toast.js";
