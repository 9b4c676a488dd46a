"""What a distributed engine keeps secret, made for docker-compose.yml: keys, passwords, and who may do what on NATS."""

import secrets
from importlib.metadata import version
from pathlib import Path

from runlane.contracts.grants import OPERATOR, USERS, users
from runlane.sealing import generate_master_key

from .datadir import new_api_key

_DATABASE = "postgresql://runlane:{password}@postgres:5432/runlane"
_REDIS = "redis://:{password}@redis:6379/0"
#: What is in it comes again by itself: nothing goes to disk, and what ends soonest makes room.
_REDIS_CONF = 'requirepass {password}\nsave ""\nmaxmemory 256mb\nmaxmemory-policy volatile-ttl\n'
_CLUSTER = "cluster"


def make_secrets(directory: Path) -> list[Path]:
    """Write what is not there yet, and return that. What services may do changes with the version: `nats_access` is
    written each time.

    Nobody else gets into the directory. The files in it can be read by all: a container does so as a user of its own.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    database, cache = _kept(directory, "postgres_password"), _kept(directory, "redis_password")
    passwords = {user: _kept(directory, f"nats_{user}_password") for user in (OPERATOR, *USERS, _CLUSTER)}
    wanted = {
        "master_key": generate_master_key(),
        "admin_key": new_api_key(),
        "postgres_password": database,
        "redis_password": cache,
        "database_url": _DATABASE.format(password=database),
        "redis_url": _REDIS.format(password=cache),
        "redis_conf": _REDIS_CONF.format(password=cache),
        **{f"nats_{user}_password": password for user, password in passwords.items()},
    }
    made = [directory / name for name in wanted if not (directory / name).exists()]
    for path in made:
        _write(path, wanted[path.name])
    _write(directory / "nats_access", _nats_access(passwords))
    return made


def _nats_access(passwords: dict[str, str]) -> str:
    cluster = passwords[_CLUSTER]
    routes = ", ".join(f'"nats://{_CLUSTER}:{cluster}@nats-{number}:6222"' for number in (1, 2, 3))
    return f"""\
# Made by `runlane deploy-secrets` {version("runlane")}: who may do what, and how the servers find each other.
authorization {{ users: {users(lambda user: f'"{passwords[user]}"')} }}
cluster {{
  name: runlane
  listen: "0.0.0.0:6222"
  authorization {{ user: {_CLUSTER}, password: "{cluster}" }}
  routes: [{routes}]
}}
"""


def _kept(directory: Path, name: str) -> str:
    path = directory / name
    return path.read_text(encoding="utf-8").strip() if path.exists() else secrets.token_hex(24)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
