// Server-sent events with a key in a header, which EventSource cannot send. Comes back after a lost connection.

import { ApiError, request } from "./api.js";

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 5000;

/** Calls `heard(name, data)` for each event until it returns true or `signal` aborts. */
export async function follow(path, { signal, heard, lost = () => {} }) {
  let last = null;
  let pause = FIRST_PAUSE;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const response = await request("GET", path, { headers, signal });
      if (!response.ok) throw new ApiError(response.status, await response.json().catch(() => null));
      lost(false);
      for await (const event of events(response.body)) {
        last = event.id ?? last;
        pause = FIRST_PAUSE;
        if (heard(event.name, JSON.parse(event.data))) return;
      }
    } catch (problem) {
      if (signal.aborted || problem.name === "AbortError") return;
      if (problem instanceof ApiError && problem.status >= 400 && problem.status < 500 && problem.status !== 429) throw problem;
      lost(true);
    }
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    pause = Math.min(LONGEST_PAUSE, pause * 2);
  }
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parsed(block);
      if (event.data) yield event;
    }
  }
}

function parsed(block) {
  const event = { id: null, name: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "id") event.id = value;
    else if (field === "event") event.name = value;
    else if (field === "data") event.data += value;
  }
  return event;
}
