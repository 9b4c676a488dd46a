"""Forms as files and as tables. Called by the commands."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .display import console, print_json, print_table, printable
from .problems import USAGE, CommandFailed

#: What `show` prints beside what `apply` takes.
_SHOWN_ONLY = frozenset(
    {
        "LinkedWorkflow",
        "executionMode",
        "requiresApproval",
        "generated",
        "inherited",
        "parameters",
        "warnings",
        "changedAt",
        "changedBy",
    }
)


def print_forms(page: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(page)
        return
    print_table(
        ("ID", "NAME", "WORKFLOW", "FROM", "PROBLEM"),
        [(f["id"], f["name"], f["linkedWorkflow"], _origin(f), f.get("problem") or "") for f in page["forms"]],
        "There are no forms: every workflow that you may run in forms has one.",
    )
    if page.get("next"):
        console(stderr=True).print(f"There are more: --after {page['next']}")


def print_form(form: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(form)
        return
    print(printable(f"{form['name']} ({form['id']}, {_origin(form)}) runs {form['linkedWorkflow']}."))
    print_table(
        ("FIELD", "LABEL", "TYPE", "REQUIRED", "DEFAULT", "CHOICES", "SHOWN WHEN"),
        [
            (
                field["name"],
                field["label"],
                field["type"] + (", sensitive" if field["sensitive"] else ""),
                "yes" if field["required"] else "",
                field.get("default"),
                _choices(field),
                _conditions(field),
            )
            for field in form["fields"]
        ],
        "It has no fields.",
    )
    for warning in form["warnings"]:
        console(stderr=True).print(f"warning: {printable(warning)}", style="yellow")


def read_form(file: Path, form_id: str | None) -> tuple[str, dict[str, Any]]:
    """A form's id and body; raises `CommandFailed`."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        form = json.loads(text)
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandFailed(f"{file} cannot be read: {problem}.", USAGE) from None
    except ValueError as problem:
        raise CommandFailed(f"{file} is not JSON: {problem}.", USAGE) from None
    if not isinstance(form, dict):
        raise CommandFailed(f"{file} must hold a JSON object.", USAGE)
    found = form_id or form.get("id")
    if not isinstance(found, str) or not found:
        raise CommandFailed(f"{file} has no id: write one into it, or give one with --id.", USAGE)
    body = {name: value for name, value in form.items() if name not in _SHOWN_ONLY and name != "id"}
    for field in body["fields"] if isinstance(body.get("fields"), list) else []:
        if isinstance(field, dict):
            field.pop("choicesUrl", None)
    return found, body


def _origin(form: Mapping[str, Any]) -> str:
    if form["generated"]:
        return "signature"
    return "platform" if form["inherited"] else "designed"


def _choices(field: Mapping[str, Any]) -> str:
    source = field.get("choicesFrom")
    if source is not None:
        return f"from {source['workflow']}"
    return ", ".join(str(choice["value"]) for choice in field.get("choices") or [])


def _conditions(field: Mapping[str, Any]) -> str:
    rules = field.get("visibleWhen") or []
    return " and ".join(f"{r['field']} {r['operator']} {json.dumps(r['value']) if 'value' in r else ''}" for r in rules)
