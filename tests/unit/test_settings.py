"""Settings that each can be read and cannot work: they are refused by name, before anything is started."""

import pytest

from runlane.errors import ConfigurationError
from runlane.settings import Settings, read_settings


@pytest.mark.parametrize("days", ["0", "0.001", "-7", "nan", "inf", "1e9"])
def test_a_retention_of_events_that_the_broker_refuses_is_refused_by_name(days: str) -> None:
    with pytest.raises(ConfigurationError, match="RUNLANE_EVENT_RETENTION_DAYS"):
        read_settings({"RUNLANE_EVENT_RETENTION_DAYS": days})


@pytest.mark.parametrize("days", ["0.0014", "7", "36500"])
def test_a_retention_that_works_is_taken(days: str) -> None:
    assert read_settings({"RUNLANE_EVENT_RETENTION_DAYS": days}) == Settings(event_retention_days=float(days))
