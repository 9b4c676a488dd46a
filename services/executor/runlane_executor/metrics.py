"""What an executor counts."""

from prometheus_client import Counter, Gauge

STARTED = Counter("runlane_executions_started", "Runs begun by this executor, resumed ones included")
ENDED = Counter("runlane_executions_ended", "Runs over in this executor, by what became of them", ["outcome"])
RUNNING = Gauge("runlane_executions_running", "Executions in this executor now")
CHILD_DEATHS = Counter("runlane_child_deaths", "Child processes that died")
DEAD = Counter("runlane_dead_letters", "Messages given up by this executor and kept as dead letters", ["kind"])
