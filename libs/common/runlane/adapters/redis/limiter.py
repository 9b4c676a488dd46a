"""`ports.Limiter` in Redis: token buckets of everybody who is given the same one, by the clock of that Redis."""

from runlane.adapters.memory_limiter import allowance
from runlane.ports import Allowance, Budget, Limiter

from .link import PREFIX, RedisAway, RedisLink

#: The generic cell rate algorithm, as in `memory_limiter`: a key holds the microsecond at which its bucket is full
#: again, and is gone by then. Returns whether it was taken, the wait, and how long until it is full.
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local step, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local within, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local asked = full_at + step * count
local wait = math.max(0, asked - now - step * math.max(burst, count))
local taken = wait <= within + 1
if taken then
  full_at = asked
  redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
end
return {taken and 1 or 0, math.floor(wait), math.ceil(full_at - now)}
"""
_MICROS = 1_000_000


class RedisLimiter:
    """Each question is one script, so that two who ask at once do not get the same. While Redis is away, `local`
    answers: buckets of this process, which know nothing of the others."""

    def __init__(self, link: RedisLink, local: Limiter) -> None:
        self._link, self._local = link, local
        self._script = link.client.register_script(_RESERVE)

    async def reserve(self, key: str, budget: Budget, within: float, count: int = 1) -> float | None:
        try:
            taken, wait, _ = await self._ask(key, budget, within, count)
        except RedisAway:
            return await self._local.reserve(key, budget, within, count)
        return wait if taken else None

    async def take(self, key: str, budget: Budget, count: int = 1) -> Allowance:
        try:
            taken, wait, full_in = await self._ask(key, budget, 0.0, count)
        except RedisAway:
            return await self._local.take(key, budget, count)
        return allowance(budget, full_in, 0.0 if taken else wait)

    async def _ask(self, key: str, budget: Budget, within: float, count: int) -> tuple[bool, float, float]:
        step = 60 * _MICROS / budget.per_minute
        arguments: list[float] = [step, budget.burst, within * _MICROS, count]
        answer = await self._link.ask(lambda: self._script(keys=[f"{PREFIX}limit:{key}"], args=arguments))
        taken, wait, full_in = (int(number) for number in answer)
        return bool(taken), wait / _MICROS, full_in / _MICROS
