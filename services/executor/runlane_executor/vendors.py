"""What the executions here share about vendors: access tokens and call budgets, by organisation. `runs` owns it."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from runlane.errors import SealBroken
from runlane.ports import Limiter, TokenStore
from runlane.sealing import Sealer
from runlane.telemetry import logger
from runlane_executor.frames import BudgetAnswer, BudgetAsked, Pipe, TokenAnswer, TokenAsked, TokenFetched, VendorFrame

_log = logger(__name__)

#: Whoever waits for another's fetch does so for this long, then fetches for itself.
_FETCH_SECONDS = 30.0


class VendorDesk:
    """Answers the frames that executions send about vendors. Every answer is for the organisation of the execution."""

    def __init__(self, tokens: TokenStore, limiter: Limiter, sealer: Sealer) -> None:
        self._tokens, self._limiter, self._sealer = tokens, limiter, sealer
        #: Who fetches the token of a key, and who waits for it.
        self._fetching: dict[str, tuple[str, asyncio.Event]] = {}

    def heard(
        self, frame: VendorFrame, org: str, pipe: Pipe, background: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        """A frame of an execution of `org`."""
        match frame:
            case TokenAsked():
                background(self._answer_token(frame, org, pipe))
            case TokenFetched():
                background(self._fetched(frame, org))
            case BudgetAsked():
                background(self._answer_budget(frame, org, pipe))

    def over(self, execution_id: str) -> None:
        """An execution has ended: what it was to fetch, another may."""
        if self._fetching:
            for key in [key for key, (fetcher, _) in self._fetching.items() if fetcher == execution_id]:
                self._let_others(key, execution_id)

    # --- tokens ------------------------------------------------------------------------------------------------------

    async def _answer_token(self, asked: TokenAsked, org: str, pipe: Pipe) -> None:
        value: str | None = None
        try:
            value = await self._token(asked, org)
        except Exception:
            _log.exception("a token could not be looked up; it is fetched instead", org=org)
        pipe.send(TokenAnswer(asked.call, value))

    async def _token(self, asked: TokenAsked, org: str) -> str | None:
        key = _key(org, asked.client)
        deadline = asyncio.get_running_loop().time() + _FETCH_SECONDS
        while True:
            sealed = await self._tokens.get(key)
            kept = self._opened(key, sealed)
            if kept is not None and kept != asked.refused:
                return kept
            if sealed is not None and kept is not None:
                await self._tokens.drop(key, sealed)
            fetching = self._fetching.get(key)
            left = deadline - asyncio.get_running_loop().time()
            # An execution asks again for what it fetches itself when its process died over that.
            if fetching is None or fetching[0] == asked.execution_id or left <= 0:
                self._fetching[key] = (asked.execution_id, asyncio.Event())
                return None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(fetching[1].wait(), left)

    def _opened(self, key: str, sealed: bytes | None) -> str | None:
        if sealed is None:
            return None
        try:
            return self._sealer.open(sealed, key).decode()
        except SealBroken:  # sealed by an executor with another master key: as good as none
            return None

    async def _fetched(self, frame: TokenFetched, org: str) -> None:
        key = _key(org, frame.client)
        try:
            if frame.token is not None and frame.seconds > 0:
                await self._tokens.put(key, self._sealer.seal(frame.token.encode(), key), frame.seconds)
        except Exception:
            _log.exception("a token could not be kept", org=org)
        finally:
            self._let_others(key, frame.execution_id)

    def _let_others(self, key: str, fetcher: str) -> None:
        found = self._fetching.get(key)
        if found is not None and found[0] == fetcher:
            del self._fetching[key]
            found[1].set()

    # --- budgets -----------------------------------------------------------------------------------------------------

    async def _answer_budget(self, asked: BudgetAsked, org: str, pipe: Pipe) -> None:
        wait: float | None = 0.0
        try:
            wait = await self._limiter.reserve(f"vendor|{org}|{asked.vendor}", asked.budget, asked.within, asked.count)
        except Exception:
            # A budget keeps us polite; calls do not fail for want of whoever counts them.
            _log.exception("the limiter cannot answer", org=org, vendor=asked.vendor)
        pipe.send(BudgetAnswer(asked.call, wait))


def _key(org: str, client: str) -> str:
    return f"token|{org}|{client}"
