"""Forms as the directory keeps them: what people fill in to run a workflow. The gateway serves and checks them.

These structs are also what the API takes and gives, so their names are camelCase there and here.
"""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

#: How a value is asked for, and so which JSON it is: text for `text` … `datetime`, any JSON for `json`.
FieldType: TypeAlias = Literal[
    "text",
    "multiline",
    "email",
    "date",
    "datetime",
    "integer",
    "number",
    "boolean",
    "choice",
    "choices",
    "list",
    "json",
]

Scalar: TypeAlias = str | int | float | bool | None


class Choice(Struct, frozen=True):
    """One of several: what is submitted, and what people read."""

    value: Scalar
    label: str = ""


class ChoiceSource(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Choices that a data provider gives: a workflow declared with `data_provider=True`.

    `inputs` fills its parameters from fields of the form (parameter → field), `parameters` with constants. What it
    returned is kept for `cache_seconds`.
    """

    workflow: str
    inputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    cache_seconds: int = 60


class Rule(Struct, frozen=True, omit_defaults=True):
    """A condition on another field. `value` is a list for `in` and `notIn`, and absent for `filled` and `empty`."""

    field: str
    operator: Literal["equals", "notEquals", "in", "notIn", "filled", "empty"]
    value: Any = None


class FormField(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One field; `name` is the workflow's parameter.

    `min` and `max` bound a number's value, a text's length, a list's length. `pattern` has to match the whole text. The
    field is there only while every rule of `visible_when` holds. The value of a `sensitive` one is in no record.
    """

    name: str
    type: FieldType = "text"
    label: str = ""
    help: str = ""
    required: bool = False
    default: Any = None
    choices: list[Choice] = field(default_factory=list)
    choices_from: ChoiceSource | None = None
    visible_when: list[Rule] = field(default_factory=list)
    pattern: str | None = None
    min: float | None = None
    max: float | None = None
    order: int = 0
    sensitive: bool = False


class Form(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A designed form. Key `forms.{org}.{id}`; those of the platform belong to every organisation."""

    org: str
    id: str
    name: str
    linked_workflow: str
    description: str = ""
    fields: list[FormField] = field(default_factory=list)
    changed_at: datetime | None = None
    changed_by: str | None = None
