"""What the scheduler counts; `service` shows it at /metrics."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from runlane.contracts.events import TickOutcome

_TICKS = Counter("runlane_scheduler_ticks", "Ticks decided by this scheduler", ["outcome"])
#: By outcome, all of them from the start: an alert that asks for an increase does not see a series begin.
TICKS = {outcome: _TICKS.labels(outcome) for outcome in get_args(TickOutcome)}
LATENESS = Histogram(
    "runlane_scheduler_tick_lateness_seconds",
    "How long after its time a tick that fires was decided",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600),
)
SCHEDULES = Gauge("runlane_scheduler_schedules", "Schedules known: workflows times organisations")

SUBSCRIPTIONS = Gauge("runlane_subscriptions", "Subscriptions that this scheduler delivers to")
SENT = Counter("runlane_subscription_attempts", "Events posted to subscriptions", ["outcome"])
SENT_SECONDS = Histogram(
    "runlane_subscription_attempt_seconds",
    "How long a receiver took to answer",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
