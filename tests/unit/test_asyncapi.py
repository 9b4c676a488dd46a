"""`/asyncapi.json` names every subject that the engine builds, and describes what goes over each."""

import inspect
import re
from typing import Any

import msgspec

from runlane.contracts import events, subjects
from runlane.contracts.asyncapi import asyncapi, channels

DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(asyncapi("1.2.3")))

#: Builders in `subjects` that make no subject that anything is sent on: filters, readers, and words.
_NO_SUBJECTS = {
    "replies", "state_line", "all_events", "any_state", "signals", "requests_of", "requests_in", "waiting_for",
    "waiting_of", "dead_letters_of", "lane_of", "executors", "scope_of", "parse_tick", "parse_event", "waits_for",
    "awaited_event", "events_of", "subscriber", "subscription_of",
}  # fmt: skip

_SAMPLES = {
    "lane": "0",
    "org": "acme",
    "workflow": "hello",
    "execution": "e1",
    "digest": "d1",
    "gateway": "g1",
    "executor": "x1",
    "scope": "s1",
    "subscription": "s2",
    "tail": "queued",
    "request_subject": "runlane.request.0.acme.hello",
    "waiting_subject": "runlane.waiting.s1.0.acme.hello",
    "filter_": "runlane.event.acme.hello.e1.queued",
}


def _pattern(address: str) -> str:
    return re.sub(r"\\\{\w+\\\}", r"[^.]+", re.escape(address))


def test_every_subject_that_is_built_is_described() -> None:
    builders = {
        name: function
        for name, function in inspect.getmembers(subjects, inspect.isfunction)
        if not name.startswith("_") and name not in _NO_SUBJECTS and function.__module__ == subjects.__name__
    }
    assert len(builders) > 12
    for name, build in builders.items():
        subject = build(*(_SAMPLES[parameter] for parameter in inspect.signature(build).parameters))
        subject = subject.replace("runlane.live.", "runlane.")
        assert any(re.fullmatch(_pattern(one.address), subject) for one in channels().values()), (name, subject)


def test_every_stream_is_described() -> None:
    from runlane.adapters.nats.topology import stream_configs
    from runlane.settings import Settings

    stored = {channel.stored for channel in channels().values()} - {None}
    assert stored == {config["name"] for config in stream_configs(Settings())}


def test_every_event_is_described_with_its_payload() -> None:
    described = {channel.payload for channel in channels().values()}
    for event in events.AnyEvent.__args__:
        assert event in described, event


def test_the_document_is_asyncapi_3_and_its_references_lead_somewhere() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert set(DOCUMENT) == {
        "asyncapi",
        "info",
        "defaultContentType",
        "servers",
        "channels",
        "operations",
        "components",
    }
    for channel in DOCUMENT["channels"].values():
        assert set(channel) <= {"address", "summary", "description", "messages", "parameters"}
        assert set(channel.get("parameters", {})) == set(re.findall(r"\{(\w+)\}", channel["address"]))
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
    references = re.findall(r'"\$ref":"(#[^"]+)"', msgspec.json.encode(DOCUMENT).decode())
    assert len(references) > 50
    for reference in set(references):
        found: Any = DOCUMENT
        for part in reference[2:].split("/"):
            found = found[part]


def test_what_is_stored_is_what_is_described() -> None:
    """A schema of an event names what its JSON has."""
    schema = DOCUMENT["components"]["schemas"]["Succeeded"]
    assert schema["properties"]["type"]["enum"] == ["dev.runlane.execution.succeeded"]
    assert {"id", "source", "subject", "time", "organization", "workflow", "data"} <= set(schema["properties"])
