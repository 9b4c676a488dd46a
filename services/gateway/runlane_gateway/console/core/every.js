// Asks again and again while a page is shown and its tab is looked at.

/** Runs `look` now and every `ms`; after failures less often. Ends with `signal`. */
export async function every(ms, signal, look) {
  let failures = 0;
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        await look();
        failures = 0;
      } catch (problem) {
        if (problem.name === "AbortError") return;
        failures += 1;
      }
    }
    await pause(ms * 2 ** Math.min(failures, 4), signal);
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const seen = () => { if (!document.hidden) ended(); };
    const ended = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", ended);
      document.removeEventListener("visibilitychange", seen);
      resolve();
    };
    const timer = setTimeout(ended, ms);
    signal.addEventListener("abort", ended);
    document.addEventListener("visibilitychange", seen);
  });
}
