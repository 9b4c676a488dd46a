"""What an executor counts; `service` shows it at /metrics."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200)

STARTED = Counter("runlane_executions_started", "Runs begun by this executor, resumed ones included")
START_LATENCY = Histogram(
    "runlane_start_latency_seconds",
    "From the moment a request was due on its lane until it runs",
    ["lane"],
    buckets=_SECONDS,
)
ENDED = Counter(
    "runlane_executions_ended", "Runs over in this executor, by what became of them", ["workflow", "outcome"]
)
RUN_SECONDS = Histogram("runlane_run_seconds", "How long a run took in this executor", ["workflow"], buckets=_SECONDS)
RUNNING = Gauge("runlane_executions_running", "Executions in this executor now")
SLOTS = Gauge("runlane_executor_slots", "Executions that this executor runs at once, at most")
REDELIVERED = Counter("runlane_redeliveries", "Requests that were delivered more than once, each time after the first")
REFUSED = Counter(
    "runlane_state_changes_refused",
    "State changes and trace entries that the broker refused because somebody else's came first (fenced writes)",
)
CHILD_DEATHS = Counter("runlane_child_deaths", "Child processes that died, and were replaced")
CALL_SECONDS = Histogram(
    "runlane_vendor_call_seconds",
    "How long a call to a vendor's API took",
    ["integration", "outcome"],
    buckets=_SECONDS,
)
DEAD = Counter("runlane_dead_letters", "Messages given up by this executor and kept as dead letters", ["kind"])
