"""Finds what authors wrote: workflows in a directory of files, integration classes by name.

Executors call `discover`; `integrations.base` registers each integration class, `Context` looks them up.
"""

import hashlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import msgspec
from msgspec import Struct

from runlane.contracts.directory import ImportFailure
from runlane.errors import ConfigurationError, DefinitionError
from runlane.telemetry import logger
from runlane.workflow import WorkflowSpec, spec_of

_log = logger(__name__)

_LONGEST_TRACEBACK = 8_000
#: Frames of ours and of the import system say nothing to the author of the file.
_OUR_FRAMES = (str(Path(__file__).parent) + os.sep, "<frozen importlib", importlib.__file__ or "importlib")


class Discovery(Struct, frozen=True):
    """What a directory holds: usable workflows by name, and one failure for each file that has something wrong."""

    workflows: dict[str, WorkflowSpec]
    failures: list[ImportFailure]


# --- workflows --------------------------------------------------------------------------------------------------------

#: The one root that this process has on `sys.path`, and the modules that came from it.
_imported: dict[str, set[str]] = {}


def discover(root: Path, origin: str = "default") -> Discovery:
    """Import every `*.py` below `root` and collect the workflows that each file defines.

    Files import each other by their path from `root` (`users`, `shared.licences`), or, where `root` has an
    `__init__.py`, below its name (`workflows.users`). Left out: `test_*.py`, `conftest.py`, directories that begin with
    a dot or underscore, virtual environments. A file that raises becomes a failure and stops nothing else; a name
    defined twice is a failure of both files. Calling it again imports everything anew. Not safe from several threads.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        message = "There is no such directory; create it, or set RUNLANE_WORKFLOWS."
        return Discovery({}, [ImportFailure(file=str(root), message=message, origin=origin)])
    found: dict[str, list[WorkflowSpec]] = {}
    problems: dict[str, ImportFailure] = {}
    with _importing(root):
        for path in _files(root):
            file = path.relative_to(root).as_posix()
            try:
                for spec in _load(root, path, file, origin):
                    found.setdefault(spec.manifest.name, []).append(spec)
            except BaseException as problem:  # SystemExit too: nothing that a file does may stop the others
                if isinstance(problem, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                    raise  # somebody's Ctrl-C; where that is ignored, it is the file's own
                problems[file] = _failure(file, origin, problem)
    for name, specs in found.items():
        if len(specs) > 1:
            _refuse_twins(name, specs, problems)
    unique = {name: specs[0] for name, specs in found.items() if len(specs) == 1}
    return Discovery(unique, list(problems.values()))


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if _is_ours(Path(folder, name)))
        for name in sorted(files):
            if name.endswith(".py") and not name.startswith((".", "test_")) and name != "conftest.py":
                yield Path(folder, name)


def _is_ours(folder: Path) -> bool:
    return not folder.name.startswith((".", "_")) and not (folder / "pyvenv.cfg").exists()


@contextmanager
def _importing(root: Path) -> Iterator[None]:
    """Have `root` last on `sys.path`, so that no file of an author hides a library from the engine.

    What an earlier call imported is forgotten. Bytecode is not written: its time stamps are too coarse for a file that
    changes twice within a second.
    """
    for former, names in _imported.items():
        sys.path[:] = [entry for entry in sys.path if entry != former]
        for name in names:
            sys.modules.pop(name, None)
        for name in [name for name, class_ in _integrations.items() if class_.__module__ in names]:
            del _integrations[name]
    _imported.clear()
    importlib.invalidate_caches()
    before, wrote_bytecode = set(sys.modules), sys.dont_write_bytecode
    sys.path += [str(place) for place in _places(root)]
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = wrote_bytecode
        new = {name for name in set(sys.modules) - before if _is_below(root, sys.modules[name])}
        _imported.update({str(place): new for place in _places(root)})


def _places(root: Path) -> list[Path]:
    return [root, root.parent] if (root / "__init__.py").exists() else [root]


def _is_below(root: Path, module: ModuleType) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(Path(place).is_relative_to(root) for place in places if place)


def _load(root: Path, path: Path, file: str, origin: str) -> list[WorkflowSpec]:
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    name = _module_name(root, path)
    module = importlib.import_module(name)
    if module.__file__ is None or not path.samefile(module.__file__):
        raise ImportError(f"the name {name!r} is taken by {module.__file__ or 'Python itself'}: rename the file")
    known = {"source_file": file, "version": version, "origin": origin}
    return [
        WorkflowSpec(msgspec.structs.replace(spec.manifest, **known), spec.function, spec.is_async, spec.signature)
        for spec in _defined_in(module)
    ]


def _module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(_places(root)[-1]).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    if any("." in part for part in parts):
        raise ImportError("a file or directory whose name has a dot in it cannot be imported: rename it")
    return ".".join(parts)


def _defined_in(module: ModuleType) -> list[WorkflowSpec]:
    specs: dict[int, WorkflowSpec] = {}
    for name, value in vars(module).items():
        spec = spec_of(value)
        if spec is None or spec.function.__module__ != module.__name__:
            continue
        if spec.function is not value:
            raise DefinitionError(
                f"{spec.manifest.source_file}:{spec.manifest.source_line}: workflow {spec.manifest.name!r}: another "
                f"decorator wraps it as `{name}` and would not take part: put `@workflow` above all others"
            )
        specs[id(spec)] = spec
    return list(specs.values())


def _failure(file: str, origin: str, problem: BaseException) -> ImportFailure:
    try:
        text = str(problem)
    except Exception:  # an author's own exception class
        text = "(no message)"
    message = text if isinstance(problem, DefinitionError) else f"{type(problem).__name__}: {text}"
    told = traceback.TracebackException.from_exception(problem)
    for cause in _causes(told):
        cause.stack[:] = [frame for frame in cause.stack if not frame.filename.startswith(_OUR_FRAMES)]
    trace = "".join(told.format())[-_LONGEST_TRACEBACK:]
    return ImportFailure(file=file, message=message, traceback=trace, origin=origin)


def _causes(told: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    while told is not None:
        yield told
        told = told.__cause__ or told.__context__


def _refuse_twins(name: str, specs: list[WorkflowSpec], problems: dict[str, ImportFailure]) -> None:
    places = [f"{spec.manifest.source_file}:{spec.manifest.source_line}" for spec in specs]
    message = f"workflow {name!r} is defined at {' and at '.join(places)}; it is disabled until all but one are renamed"
    for spec in specs:
        file, origin = spec.manifest.source_file, spec.manifest.origin
        known = problems.get(file)
        if known is None:
            problems[file] = ImportFailure(file=file, message=message, origin=origin)
        elif message not in known.message:
            problems[file] = msgspec.structs.replace(known, message=f"{known.message}; {message}")


# --- integrations -----------------------------------------------------------------------------------------------------

_integrations: dict[str, type] = {}

#: Ours, imported when first asked for: module and class by name.
_OURS = {
    "connectwise": ("runlane.integrations.connectwise", "ConnectWise"),
    "halopsa": ("runlane.integrations.halopsa", "HaloPSA"),
    "msgraph": ("runlane.integrations.msgraph", "MicrosoftGraph"),
}


def register_integration(cls_name: str, cls: type) -> None:
    """Make an integration class known by its `integration_name`. The last one of a name wins, and that is logged;
    an author's stands in for ours of the same name, whichever is imported first."""
    former = _integrations.get(cls_name)
    if former is not None and (cls.__module__, cls.__qualname__) == _OURS.get(cls_name):
        return
    if former is not None and (former.__module__, former.__qualname__) != (cls.__module__, cls.__qualname__):
        _log.warning("integration replaced", integration=cls_name, by=f"{cls.__module__}.{cls.__qualname__}")
    _integrations[cls_name] = cls


def integration(name: str) -> type:
    """The integration class of that name; raises `ConfigurationError` listing those there are."""
    found = _integrations.get(name)
    if found is None and name in _OURS:
        module, class_name = _OURS[name]
        found = _integrations[name] = getattr(importlib.import_module(module), class_name)
    if found is None:
        known = ", ".join(sorted({*_integrations, *_OURS}))
        raise ConfigurationError(f"There is no integration {name!r}; known: {known}.", name)
    return found
