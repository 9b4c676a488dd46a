"""Execution ids: what repeats must repeat for good, as idempotency and schedules stand on it."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from runlane.ids import is_token, new_execution_id, repeatable_execution_id

_NAMESPACE = uuid.UUID("6a1c2f6e-52f1-5d3a-9b0e-6f0d0a7f5a11")


@given(st.text(max_size=20), st.lists(st.text(max_size=40), max_size=4))
def test_an_id_that_repeats_is_a_uuid5_of_its_parts(kind: str, parts: list[str]) -> None:
    found = repeatable_execution_id(kind, *parts)
    assert found == uuid.uuid5(_NAMESPACE, "\x1f".join([kind, *parts])).hex


def test_an_id_that_repeats_is_the_same_in_every_version() -> None:
    found = repeatable_execution_id("tick", "audit", "acme", "2026-03-02T09:00:00Z")
    assert found == "ef228c403822522e8f3275bc33a46d0c"


def test_a_fresh_id_is_a_uuid7() -> None:
    found = new_execution_id()
    assert is_token(found)
    assert uuid.UUID(found).version == 7
