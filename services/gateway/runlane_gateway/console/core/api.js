// The public HTTP API as pages call it: await api.get("/executions", {query: {status: ["Failed"]}, signal}).

import { session } from "./session.js";

/** What the gateway refused: `status`, `error`, `details` and `executionId` are the envelope's. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message ?? `The gateway answered ${status}.`);
    Object.assign(this, { status, error: body?.error ?? "", details: body?.details ?? {}, executionId: body?.executionId });
  }
}

/** A path with its parts escaped: at`/executions/${id}`. */
export const at = (texts, ...parts) => String.raw({ raw: texts }, ...parts.map(encodeURIComponent));

const listeners = new Set();
/** Call when the credentials are refused. */
export function onUnauthorized(listener) { listeners.add(listener); }

export const api = {
  get: (path, options) => call("GET", path, options),
  post: (path, body, options) => call("POST", path, { ...options, body: body ?? {} }),
  put: (path, body, options) => call("PUT", path, { ...options, body: body ?? {} }),
  delete: (path, options) => call("DELETE", path, options),
};

async function call(method, path, options = {}) {
  const response = await request(method, path, options);
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  throw new ApiError(response.status, body);
}

/** The response itself, for streams. Raises `ApiError` with status 0 where nothing answers. */
export async function request(method, path, { query, body, headers, signal, org, key } = {}) {
  const sent = { ...(key !== "" && { Authorization: `Bearer ${key ?? session.key}` }), ...headers };
  const about = org === undefined ? session.org?.id : org;
  if (about) sent["X-Organization-Id"] = about;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path + written(query), {
      method, headers: sent, signal, cache: "no-store", credentials: "omit",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new ApiError(0, { message: "The gateway cannot be reached. What you see may be old." });
  }
  if (response.status === 401 && key === undefined) for (const listener of listeners) listener();
  return response;
}

/** What goes behind the question mark: several of a list, nothing of what is empty. */
export function parameters(query) {
  if (query instanceof URLSearchParams) return query;
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") found.append(name, one);
    }
  }
  return found;
}

/** The same query but for these. */
export function changed(query, changes) {
  return parameters({ ...Object.fromEntries([...query.keys()].map((name) => [name, query.getAll(name)])), ...changes });
}

function written(query) {
  const text = parameters(query).toString();
  return text && `?${text}`;
}
