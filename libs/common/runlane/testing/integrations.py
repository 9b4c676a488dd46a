"""A stand-in for an integration that can do what the real class can do, and nothing else."""

import copy
import inspect
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from msgspec import Struct

from runlane.registry import integration

__all__ = ["FakeIntegration", "UnexpectedCall"]


class UnexpectedCall(BaseException):
    """The workflow called something that the test gave no answer for.

    Not an `Exception`: a workflow's own `except Exception` must not turn a gap in the test into a vendor's error.
    """


class RecordedCall(Struct, frozen=True):
    """A call as it was made: arguments by the names of the real method's parameters."""

    method: str
    arguments: dict[str, Any]


class FakeIntegration:
    """Records calls and answers them as the test says.

        graph = FakeIntegration(MsGraph, create_user={"id": "1"}, assign_license=IntegrationError("msgraph"))

    `real` is the class, or the name it is registered under. Each answer belongs to a method of it: an exception is
    raised, a function is called with the arguments, anything else is returned. What the real class does not have is an
    AttributeError here too, wrong arguments are a TypeError, and a method without an answer is an `UnexpectedCall`.
    """

    def __init__(self, real: type | str, /, **answers: Any) -> None:
        self._real = integration(real) if isinstance(real, str) else real
        self._answers = answers
        #: Every call, in order.
        self.calls: list[RecordedCall] = []
        for name in answers:
            self._attribute(name)

    def called(self, method: str) -> list[dict[str, Any]]:
        """The arguments of each call of a method; a method that the real class lacks is an AttributeError."""
        self._attribute(method)
        return [call.arguments for call in self.calls if call.method == method]

    async def aclose(self) -> None:
        """The context closes its integrations."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        attribute = self._attribute(name)
        if callable(attribute):
            bound = isinstance(inspect.getattr_static(self._real, name), staticmethod | classmethod)
            return _Method(name, attribute if bound else partial(attribute, self), self._answers, self.calls)
        if name not in self._answers:
            raise UnexpectedCall(f"{self._real.__name__}.{name} was read, and the test gave nothing for it: {name}=…")
        return self._answers[name]

    def _attribute(self, name: str) -> Any:
        attribute = inspect.getattr_static(self._real, name, None)
        if attribute is None or name.startswith("_"):
            raise AttributeError(f"{self._real.__name__} has no {name!r}")
        return getattr(self._real, name)


class _Method:
    """One method of the fake."""

    def __init__(self, name: str, real: Callable[..., Any], answers: dict[str, Any], calls: list[RecordedCall]) -> None:
        self._name, self._real, self._answers, self._calls = name, real, answers, calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(self._real).bind(*args, **kwargs).arguments
        self._calls.append(RecordedCall(self._name, copy.deepcopy(given)))
        if self._name not in self._answers:
            raise UnexpectedCall(f"{self._name} was called, and the test gave no answer for it: {self._name}=…")
        if inspect.isasyncgenfunction(self._real):
            return self._iterate(args, kwargs)
        if inspect.iscoroutinefunction(self._real):
            return self._answer(args, kwargs)
        return self._value(args, kwargs)

    def _value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answer = self._answers[self._name]
        if isinstance(answer, BaseException) or (isinstance(answer, type) and issubclass(answer, BaseException)):
            raise answer
        return answer(*args, **kwargs) if callable(answer) else copy.deepcopy(answer)

    async def _answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = self._value(args, kwargs)
        return await value if inspect.isawaitable(value) else value

    async def _iterate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        for item in await self._answer(args, kwargs):
            yield item
