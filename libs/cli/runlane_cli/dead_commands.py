"""`runlane dead …` and `runlane drain`: what was given up, and ending executors in peace."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .gateway_command import JsonOption, gateway_command
from .problems import CommandFailed

if TYPE_CHECKING:
    from .client import Gateway

dead = typer.Typer(help="Dead letters: what the engine gave up on.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id, as `list` shows it.")]

_POLL_SECONDS = 1.0


@dead.command("list")
@gateway_command
def list_(
    gateway: "Gateway",
    kind: Annotated[str | None, typer.Option(help="Only this kind: unreadable, newer_version, crash_loop…")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many, oldest first.")] = 50,
    after: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what was given up, oldest first."""
    from .display import console, local_time, print_json, print_table

    page = gateway.get("/dead-letters", kind=kind, workflow=workflow, limit=limit, after=after)
    if as_json:
        print_json(page)
        return
    columns = ("id", "at", "kind", "org", "workflow", "executionId", "reason")
    rows = [[local_time(one[name]) if name == "at" else one[name] for name in columns] for one in page["deadLetters"]]
    print_table(("ID", "WHEN", "KIND", "ORG", "WORKFLOW", "EXECUTION", "WHY"), rows, "Nothing was given up.")
    if page["next"]:
        console(stderr=True).print(f"There are more: --after {page['next']}")


@dead.command()
@gateway_command
def show(gateway: "Gateway", letter_id: IdArgument, as_json: JsonOption = False) -> None:
    """Show one dead letter, with the message itself where you may see it."""
    from .client import escaped
    from .display import local_time, print_json, printable

    letter: dict[str, Any] = gateway.get(f"/dead-letters/{escaped(letter_id)}")
    if as_json:
        print_json(letter)
        return
    for name, value in {**letter, "at": local_time(letter["at"])}.items():
        if value is not None:
            print(f"{name}: {printable(str(value))}")


@dead.command()
@gateway_command
def redrive(gateway: "Gateway", letter_id: IdArgument, as_json: JsonOption = False) -> None:
    """Run it again: as a new execution with the same parameters, or as the message that it is."""
    from .client import escaped
    from .display import print_json

    answer = gateway.post(f"/dead-letters/{escaped(letter_id)}/redrive")
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['outcome']} {answer['executionId'] or ''}".rstrip())


@dead.command()
@gateway_command
def discard(gateway: "Gateway", letter_id: IdArgument, as_json: JsonOption = False) -> None:
    """Throw it away."""
    from .client import escaped
    from .display import print_json

    answer = gateway.post(f"/dead-letters/{escaped(letter_id)}/discard")
    if as_json:
        print_json(answer)
    else:
        print(f"discarded {answer['id']}")


@gateway_command
def executors(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List the executors that are there, and what they do."""
    from .display import print_json, print_table

    found = gateway.get("/executors")
    if as_json:
        print_json(found)
        return
    rows = [
        (one["executor"], one["host"], one["pid"], f"{one['running']}/{one['slots']}", "draining" * one["draining"])
        for one in found["executors"]
    ]
    print_table(("EXECUTOR", "HOST", "PID", "RUNNING", ""), rows, "There is no executor.")


@gateway_command
def drain(
    gateway: "Gateway",
    executor: Annotated[str, typer.Argument(help="Its name, as `runlane executors` shows it, or `all`.")] = "all",
    wait: Annotated[bool, typer.Option(help="Say how far it is until it is done, or return at once.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait.")] = 120,
    as_json: JsonOption = False,
) -> None:
    """Have an executor, or all that are there, finish what they have and end; `runlane up` starts them anew."""
    from .client import escaped
    from .display import print_json

    chosen = gateway.post(f"/executors/{escaped(executor)}/drain")
    names = {one["executor"] for one in chosen["executors"]}
    if as_json:
        print_json(chosen)
    if wait:
        _follow(gateway, names, time.monotonic() + timeout, silent=as_json)


def _follow(gateway: "Gateway", names: set[str], deadline: float, *, silent: bool) -> None:
    told: dict[str, int] = {}
    while True:
        there = {one["executor"]: one["running"] for one in gateway.get("/executors")["executors"]}
        left = {name: there[name] for name in sorted(names & there.keys())}
        for name in sorted(names):
            if not silent and told.get(name) != left.get(name, -1):
                told[name] = left.get(name, -1)
                print(f"{name}: {left[name]} still run" if name in left else f"{name}: drained")
        if not left:
            return
        if time.monotonic() >= deadline:
            raise CommandFailed(f"Still draining: {', '.join(left)}.")
        time.sleep(_POLL_SECONDS)
