"""`ports.Vendors` in a child: questions go over the pipe to the intake's `vendors`. Made when first asked for."""

import asyncio
from typing import Any

from runlane.ports import Budget
from runlane_executor.frames import BudgetAnswer, BudgetAsked, Pipe, TokenAnswer, TokenAsked, TokenFetched


class VendorCalls:
    """Questions of this child about vendors that the intake has not answered yet."""

    def __init__(self, allowed_hosts: frozenset[str]) -> None:
        self.allowed_hosts = allowed_hosts
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._calls = 0

    def expect(self) -> "tuple[int, asyncio.Future[Any]]":
        """A number for a question, and what will hold its answer."""
        self._calls += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[self._calls] = future
        return self._calls, future

    def answered(self, frame: TokenAnswer | BudgetAnswer) -> None:
        future = self._asked.pop(frame.call, None)
        if future is not None and not future.done():
            future.set_result(frame.value if isinstance(frame, TokenAnswer) else frame.wait)


class PipeVendors:
    """What one execution in this child can ask about vendors."""

    def __init__(self, execution_id: str, pipe: Pipe, calls: VendorCalls) -> None:
        self._execution_id, self._pipe, self._calls = execution_id, pipe, calls

    @property
    def allowed_hosts(self) -> frozenset[str]:
        return self._calls.allowed_hosts

    async def cached_token(self, client: str, refused: str | None = None) -> str | None:
        call, answer = self._calls.expect()
        self._pipe.send(TokenAsked(call, self._execution_id, client, refused))
        try:
            token: str | None = await answer
        except asyncio.CancelledError:
            # The answer may yet be that the token is ours to fetch: let another do it.
            self.remember_token(client, None)
            raise
        return token

    def remember_token(self, client: str, token: str | None, seconds: float = 0) -> None:
        self._pipe.send(TokenFetched(self._execution_id, client, token, seconds))

    async def reserve_call(self, vendor: str, budget: Budget, within: float, count: int = 1) -> float | None:
        call, answer = self._calls.expect()
        self._pipe.send(BudgetAsked(call, self._execution_id, vendor, budget, within, count))
        wait: float | None = await answer
        return wait

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
