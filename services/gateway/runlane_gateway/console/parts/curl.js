// A call as curl takes it: for the page of an execution and for that of a workflow. There is never a key in it.

/** `body`: what is posted; without one it is a GET. */
export function curl(path, org, body) {
  const sent = body ? [`-H "Content-Type: application/json"`, `-d '${JSON.stringify(body, null, 2).replaceAll("'", "'\\''")}'`] : [];
  return [`curl ${body ? "-X POST " : ""}${location.origin}${path}`, `-H "Authorization: Bearer $RUNLANE_API_KEY"`,
    `-H "X-Organization-Id: ${org}"`, ...sent].join(" \\\n  ");
}
