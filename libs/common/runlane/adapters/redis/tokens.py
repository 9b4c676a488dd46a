"""`ports.TokenStore` in Redis: what one executor fetched, the others need not. Redis sees sealed bytes alone."""

from runlane.ports import TokenStore

from .link import PREFIX, RedisAway, RedisLink

#: Somebody may have put a better one there meanwhile.
_DROP = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisTokens:
    """While Redis is away, `local` keeps what is fetched."""

    def __init__(self, link: RedisLink, local: TokenStore) -> None:
        self._link, self._local = link, local
        self._drop = link.client.register_script(_DROP)

    async def get(self, key: str) -> bytes | None:
        try:
            kept = await self._link.ask(lambda: self._link.client.get(_name(key)))
        except RedisAway:
            return await self._local.get(key)
        return kept if isinstance(kept, bytes) else None

    async def put(self, key: str, sealed: bytes, seconds: float) -> None:
        milliseconds = max(1, int(seconds * 1000))
        try:
            await self._link.ask(lambda: self._link.client.set(_name(key), sealed, px=milliseconds))
        except RedisAway:
            await self._local.put(key, sealed, seconds)

    async def drop(self, key: str, sealed: bytes) -> None:
        await self._local.drop(key, sealed)
        try:
            await self._link.ask(lambda: self._drop(keys=[_name(key)], args=[sealed]))
        except RedisAway:
            return


def _name(key: str) -> str:
    return f"{PREFIX}token:{key}"
