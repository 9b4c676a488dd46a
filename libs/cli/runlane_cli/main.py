"""The `runlane` command. Each command imports what it needs when it runs, so that `runlane --help` is quick."""

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .access_commands import keys, whoami
from .approvals_commands import approvals, approve, reject, send_event
from .audit_command import audit
from .bulk_commands import bulk_cancel, bulk_retry
from .completing import VARIABLE, prepare, workflow_names
from .datadir import DEFAULT
from .dead_commands import dead, drain, executors
from .deploy_commands import deploy_secrets, migrate
from .directory_commands import config, orgs, secrets
from .doctor_command import doctor
from .events_command import events_access
from .executions_commands import executions
from .forms_commands import forms
from .gateway_command import JsonOption, gateway_command
from .overview_command import overview
from .problems import CommandFailed
from .safety_commands import backup, restore, verify
from .subscriptions_commands import subscriptions
from .webhooks_commands import webhooks

if TYPE_CHECKING:
    from .client import Gateway

app = typer.Typer(
    name="runlane",
    help="Durable Python automation: run workflows, see what they did.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(executions, name="executions")
app.add_typer(approvals, name="approvals")
app.add_typer(config, name="config")
app.add_typer(secrets, name="secrets")
app.add_typer(orgs, name="orgs")
app.add_typer(keys, name="keys")
app.command()(whoami)
app.command("audit")(audit)
app.command()(overview)
app.add_typer(forms, name="forms")
app.add_typer(dead, name="dead")
app.command()(executors)
app.command()(drain)
app.command()(approve)
app.command()(reject)
executions.command("send-event")(send_event)
executions.command("bulk-cancel")(bulk_cancel)
executions.command("bulk-retry")(bulk_retry)
app.add_typer(webhooks, name="webhooks")
app.add_typer(subscriptions, name="subscriptions")
app.command()(migrate)
app.command("deploy-secrets")(deploy_secrets)
app.command()(backup)
app.command()(restore)
app.command()(verify)
app.command()(doctor)
app.command("events-access")(events_access)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 used wrongly, 3 the engine cannot be reached, 4 it still runs."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # whoever reads along through a pipe is told as it happens
    try:
        if VARIABLE in os.environ:
            prepare()
        app(prog_name="runlane")
    except CommandFailed as problem:
        print(f"runlane: {problem.message}", file=sys.stderr)
        raise SystemExit(problem.exit_code) from None


@app.command()
def up(  # noqa: PLR0913  # each parameter is an option
    workflows: Annotated[Path, typer.Option(envvar="RUNLANE_WORKFLOWS", help="Directory of workflow files.")] = Path(
        "workflows"
    ),
    data: Annotated[Path, typer.Option(envvar="RUNLANE_DATA_DIR", help="Where everything is kept.")] = DEFAULT,
    host: Annotated[str, typer.Option(envvar="RUNLANE_HTTP_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="RUNLANE_HTTP_PORT", help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    executors: Annotated[int, typer.Option(min=1, max=64, help="How many executors.")] = 1,
    reload: Annotated[bool, typer.Option("--reload", help="Load workflow files again when they change.")] = False,
    durability: Annotated[
        Literal["fsync", "buffered"],
        typer.Option(
            envvar="RUNLANE_DURABILITY",
            help="fsync: acknowledged means on disk. buffered: faster; a power failure may cost the last moments.",
        ),
    ] = "buffered",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the services' logs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the whole engine on this machine, until Ctrl-C."""
    from .engine import EngineOptions
    from .up import up

    options = EngineOptions(
        data=data,
        workflows=workflows,
        host=host,
        port=port,
        executors=executors,
        reload=reload,
        durability=durability,
    )
    up(options, as_json=as_json, verbose=verbose)


@app.command()
def serve(name: Annotated[str, typer.Argument(help="gateway, executor, scheduler or recorder.")]) -> None:
    """Run one service in this process; its settings are RUNLANE_… variables."""
    from .serve import serve

    serve(name)


@app.command()
@gateway_command
def run(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="The workflow.", autocompletion=workflow_names)],
    param: Annotated[list[str] | None, typer.Option(help="A parameter as name=value; may be repeated.")] = None,
    params: Annotated[str | None, typer.Option(help="All parameters as a JSON object, or @file.")] = None,
    wait: Annotated[bool, typer.Option(help="Show what it says until it has ended, or return at once.")] = True,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait; the execution itself goes on.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Calls with the same key are one execution.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds before it starts.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a workflow. Its result goes to stdout, what it says meanwhile to stderr."""
    from .run_command import RunOptions, run

    options = RunOptions(
        params=params,
        param=param or [],
        wait=wait,
        timeout=timeout,
        idempotency_key=idempotency_key,
        delay=delay,
        as_json=as_json,
    )
    run(gateway, name, options)


@app.command()
@gateway_command
def batch(  # each parameter is an option
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="The workflow.")],
    file: Annotated[Path, typer.Argument(help="A line of JSON for each execution, or - for standard input.")],
    key_prefix: Annotated[
        str | None, typer.Option(help="Makes an idempotency key of each line's number: the same file again is safe.")
    ] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low, where a line says nothing else.")] = None,
    size: Annotated[int, typer.Option(min=1, max=10_000, help="Lines in one request.")] = 500,
    as_json: JsonOption = False,
) -> None:
    """Run a workflow once for each line of a file. Exit code 1 if a line was refused."""
    from .batch_command import BatchOptions, submit_batch

    submit_batch(gateway, name, file, BatchOptions(key_prefix, priority, size, as_json))


@app.command()
@gateway_command
def workflows(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List workflows, and the files that could not be imported."""
    from .lists import print_workflows

    print_workflows(gateway, as_json=as_json)


@app.command()
@gateway_command
def schedules(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List what runs by itself, and when next."""
    from .lists import print_schedules

    print_schedules(gateway, as_json=as_json)


@app.command()
def init(directory: Annotated[Path, typer.Argument(help="Where.")] = Path(), as_json: JsonOption = False) -> None:
    """Make a small project: a workflow and its test."""
    from .scaffold import make_project

    made = [str(path) for path in make_project(directory)]
    if as_json:
        print(json.dumps({"made": made}))
        return
    for path in made:
        print(f"made {path}")
    prefix = "" if directory == Path() else f"cd {directory} && "
    print(f"Next: {prefix}pytest, then runlane up, then runlane run hello --param name=Ada")


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print what has the shell complete commands, options, workflows, organisations and execution ids."""
    from .completing import script

    print(script(shell))


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    from importlib.metadata import version

    if as_json:
        print(json.dumps({"runlane": version("runlane"), "python": sys.version.partition(" ")[0]}))
        return
    print(f"runlane {version('runlane')}, Python {sys.version.partition(' ')[0]}")


if __name__ == "__main__":
    main()
