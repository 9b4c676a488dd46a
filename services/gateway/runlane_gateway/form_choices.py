"""Choices that a workflow gives: runs the data provider in the caller's organisation, keeps its answer for a while.

At most one run at a time for the same question, per gateway; whoever asks meanwhile gets the same answer.
"""

import asyncio
from collections import OrderedDict
from typing import Any

import msgspec
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts.directory import Manifest
from runlane.contracts.forms import Choice, ChoiceSource
from runlane.contracts.requests import Trigger
from runlane.directory import Directory
from runlane.errors import ChoicesUnavailable, RunlaneError, ValidationError
from runlane.ids import new_execution_id

from .calls import Call, Calls
from .preferences import Preference
from .principals import Principal

MOST_CHOICES = 5000
_MOST_REMEMBERED = 2000
_LONGEST_LABEL = 500

_canonical = msgspec.json.Encoder(order="sorted").encode
_Key = tuple[str, str, str, bytes]


class Question(Struct, frozen=True, kw_only=True):
    """Which choices has this field now? `inputs` are the provider's parameters."""

    org: str
    principal: Principal
    form: str
    field: str
    source: ChoiceSource
    inputs: dict[str, Any]


class _Answered(Struct, frozen=True):
    result: list[Choice]


class _Refused(Struct, frozen=True, rename="camel"):
    message: str = ""
    execution_id: str | None = None


class Providers:
    """Asks data providers."""

    def __init__(self, directory: Directory, calls: Calls, clock: Clock, wait: float) -> None:
        self._directory, self._calls, self._clock, self._wait = directory, calls, clock, wait
        self._kept: OrderedDict[_Key, tuple[float, list[Choice]]] = OrderedDict()
        self._running: dict[_Key, asyncio.Task[list[Choice]]] = {}

    async def choices(self, question: Question) -> list[Choice]:
        """Raises `ChoicesUnavailable` when the provider fails, `ValidationError` for inputs that it does not take."""
        manifest = self._manifest(question)
        key = (question.org, manifest.name, manifest.version, _canonical(question.inputs))
        until, choices = self._kept.get(key, (0.0, []))
        if self._clock.monotonic() < until:
            return choices
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._ask(key, manifest, question))
            task.add_done_callback(lambda done: self._ended(key, done))
        # Shielded: one that goes away does not take the answer from the others.
        return await asyncio.shield(task)

    def _ended(self, key: _Key, task: "asyncio.Task[list[Choice]]") -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # whoever asked may have left

    def _manifest(self, question: Question) -> Manifest:
        name, org = question.source.workflow, self._directory.org(question.org)
        manifest = self._directory.workflow(name)
        if manifest is None or not manifest.data_provider:
            raise _unavailable(question, f"there is no data provider {name!r}")
        if org is not None and not org.runs(name):
            raise _unavailable(question, f"data provider {name!r} is disabled for this organisation")
        return manifest

    async def _ask(self, key: _Key, manifest: Manifest, question: Question) -> list[Choice]:
        answer = await self._answer(manifest, question)
        choices = _read(question, answer.status_code, bytes(answer.body))
        self._kept[key] = (self._clock.monotonic() + question.source.cache_seconds, choices)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_REMEMBERED:
            self._kept.popitem(last=False)
        return choices

    async def _answer(self, manifest: Manifest, question: Question) -> Any:
        """The provider needs no permission of its own: who may fill in the form may have its choices."""
        wait = min(self._wait, manifest.timeout_seconds)
        call = Call(
            execution_id=new_execution_id(),
            org=question.org,
            manifest=manifest,
            parameters=question.inputs,
            principal=question.principal,
            trigger=Trigger("form", f"{question.form}/{question.field}"),
            preference=Preference(wait),
            wait=wait,
        )
        try:
            return await self._calls.start(call)
        except ValidationError as problem:
            raise self._in_terms_of_the_form(question, problem) from None
        except RunlaneError as problem:
            raise _unavailable(question, problem.message) from None

    def _in_terms_of_the_form(self, question: Question, problem: ValidationError) -> ValidationError:
        field = question.source.inputs.get(problem.field or "")
        if field is None:
            return ValidationError(f"The choices of {question.field} cannot be asked for: {problem.message}")
        return ValidationError(f"{field}: the choices of {question.field} depend on it", field)


def _read(question: Question, status: int, body: bytes) -> list[Choice]:
    if status != 200:
        # 202: it still runs, and the record will say how it ended.
        refused = msgspec.json.decode(body, type=_Refused)
        raise _unavailable(question, refused.message or "the data provider takes too long", refused.execution_id)
    try:
        choices = msgspec.json.decode(body, type=_Answered).result
    except msgspec.ValidationError:
        raise _unavailable(question, "the data provider did not return a list of {value, label}") from None
    if len(choices) > MOST_CHOICES:
        raise _unavailable(question, f"the data provider returned more than {MOST_CHOICES} choices")
    return [Choice(choice.value, (choice.label or str(choice.value))[:_LONGEST_LABEL]) for choice in choices]


def _unavailable(question: Question, reason: str, execution_id: str | None = None) -> ChoicesUnavailable:
    details = {"field": question.field, "workflow": question.source.workflow}
    known = {} if execution_id is None else {"executionId": execution_id}
    return ChoicesUnavailable(f"The choices of {question.field} cannot be had: {reason}", details={**details, **known})
