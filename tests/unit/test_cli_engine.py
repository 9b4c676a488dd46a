"""What the engine of `runlane up` hands on of what was set."""

from pathlib import Path

from runlane.adapters.nats.topology import stream_configs
from runlane.contracts import subjects
from runlane.settings import Settings
from runlane_cli.datadir import DataDirectory
from runlane_cli.engine import Engine, EngineOptions


def test_streams_keep_events_for_as_long_as_was_set(tmp_path: Path) -> None:
    """They used to be made with the defaults, whatever was set."""
    options = EngineOptions(
        data=tmp_path,
        workflows=tmp_path,
        host="127.0.0.1",
        port=0,
        executors=1,
        reload=False,
        durability="buffered",
    )
    data = DataDirectory(tmp_path)
    data.create()
    engine = Engine(options, Settings(event_retention_days=0.5, stream_replicas=3), data, print)
    [events] = [it for it in stream_configs(engine.bus_settings) if it["name"] == subjects.EVENTS]
    assert events["max_age"] == 43_200 * 1_000_000_000
    assert events["num_replicas"] == 1
