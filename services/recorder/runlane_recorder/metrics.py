"""What a recorder counts; `service` shows it at /metrics."""

from prometheus_client import Counter, Gauge, Histogram

APPLIED = Counter("runlane_recorder_events_applied", "Events folded into the record store, repeated ones included")
BATCH_SIZE = Histogram(
    "runlane_recorder_batch_size", "Events in one transaction", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500)
)
APPLY_SECONDS = Histogram(
    "runlane_recorder_apply_seconds",
    "How long one transaction took",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LAG = Gauge("runlane_recorder_lag_events", "Events of the stream that are not recorded yet")
UNRECORDABLE = Counter(
    "runlane_recorder_events_unrecordable", "Events left out of the record store because they cannot be read or kept"
)
PRUNED = Counter("runlane_recorder_pruned", "Executions, ticks and audit entries deleted because they were too old")
SWEPT = Counter(
    "runlane_recorder_executions_swept",
    "Executions nobody looked after that were put on the queue again or ended",
    ["state"],
)
STUCK = Gauge("runlane_recorder_executions_overdue", "Unfinished executions that should have moved on a while ago")
QUEUED = Gauge("runlane_queue_messages", "Requests that wait for an executor", ["lane"])
QUEUED_OLDEST = Gauge(
    "runlane_queue_oldest_seconds", "Since when the first of them is due; 0 where none waits", ["lane"]
)
WAITING_FOR_PERMITS = Gauge("runlane_queue_waiting_for_permits", "Requests held back by a limit of what runs at once")
