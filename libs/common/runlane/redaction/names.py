"""Which names hold secrets. Judged by words: `client_secret`, `clientSecret`, `X-Client-Secret` are the same name."""

import re
from functools import lru_cache

MASK = "[REDACTED]"

#: Anywhere in a name, whatever separates its words. Not: secretary, tokenize.
_SECRET = (
    r"passwords?|passwd|passphrases?|pwd|secrets?(?!ar)|tokens?(?!i[sz])|credentials?|cookies?|authorization"
    r"|authheader|apikeys?|accesskeys?|privatekeys?|secretkeys?|connectionstrings?"
)
_MENTIONS_SECRET = re.compile(_SECRET)
_ENDS_IN_SECRET = re.compile(rf"(?:{_SECRET})$")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SEPARATORS = re.compile(r"[^a-z]+")

#: `…_key` names whose value identifies something. SPEC §2 shows `config_key` to the caller.
_IDENTIFYING_KEYS = frozenset({"config", "primary", "foreign", "sort", "partition", "row", "idempotency", "cache"})


#: Longer names are nobody's, and are not remembered: whoever sends them would fill the memory with them.
_LONGEST_REMEMBERED = 200


def is_secret_name(name: str) -> bool:
    """Whether the value under `name` is masked: it mentions a secret, is or ends in `key` or `auth`, and so on."""
    return _is_secret(name) if len(name) <= _LONGEST_REMEMBERED else _is_secret.__wrapped__(name)


def is_name_of_secret(name: str) -> bool:
    """Whether the value itself is a secret that must not show elsewhere either.

    Narrower than `is_secret_name`: masking the value of `token_type` or `key` wherever it appears would spoil records.
    """
    return _is_of_secret(name) if len(name) <= _LONGEST_REMEMBERED else _is_of_secret.__wrapped__(name)


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    if _MENTIONS_SECRET.search(_SEPARATORS.sub("", name.lower())):
        return True
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] not in ("key", "keys", "auth"):
        return False
    return len(words) < 2 or words[-2] not in _IDENTIFYING_KEYS


@lru_cache(maxsize=4096)
def _is_of_secret(name: str) -> bool:
    return _ENDS_IN_SECRET.search(_SEPARATORS.sub("", name.lower())) is not None
