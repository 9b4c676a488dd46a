"""What a workflow's signature becomes as a form."""

from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta
from pydantic import BaseModel, PositiveInt

from runlane import Context, workflow
from runlane.contracts.forms import Choice, FormField
from runlane.workflow import spec_of
from runlane_gateway.form_generation import generated_form
from runlane_gateway.form_submission import Questionnaire


class Plan(Enum):
    basic = "basic"
    premium = "premium"


class Address(msgspec.Struct):
    city: str


Mail = Annotated[str, Meta(extra_json_schema={"format": "email"})]


class Person(BaseModel):
    name: str


@workflow(name="onboard_user", description="Makes a user.")
async def onboard_user(
    context: Context,
    email: str,
    plan: Plan,
    since: datetime,
    birthday: date,
    address: Address,
    person: Person,
    licence: Literal["e3", "e5"] = "e3",
    groups: list[str] | None = None,
    roles: list[Literal["user", "admin"]] = ["user"],  # noqa: B006  as authors write it
    count: Annotated[int, Meta(ge=1, le=10, description="How many.")] = 1,
    code: Annotated[str, Meta(pattern="^[A-Z]{3}$", min_length=3)] = "ABC",
    notify: bool = True,
    manager: str | None = None,
    password: str = "",
    anything: Any = None,
) -> None:
    """Makes a user.

    Args:
        email: Where the user
            can be reached.
    """


def fields() -> dict[str, FormField]:
    spec = spec_of(onboard_user)
    assert spec is not None
    return {field.name: field for field in generated_form(spec.manifest).fields}


@pytest.mark.parametrize(
    ("name", "type_", "required"),
    [
        ("email", "text", True),
        ("plan", "choice", True),
        ("since", "datetime", True),
        ("birthday", "date", True),
        ("address", "json", True),
        ("person", "json", True),
        ("licence", "choice", False),
        ("groups", "list", False),
        ("roles", "choices", False),
        ("count", "integer", False),
        ("notify", "boolean", False),
        ("manager", "text", False),
        ("anything", "json", False),
    ],
)
def test_each_parameter_becomes_a_field_of_its_kind(name: str, type_: str, required: bool) -> None:
    assert (fields()[name].type, fields()[name].required) == (type_, required)


def test_fields_keep_the_order_of_the_parameters() -> None:
    assert list(fields())[:3] == ["email", "plan", "since"]
    assert [field.order for field in fields().values()] == list(range(1, 16))


def test_a_field_says_what_the_author_said() -> None:
    known = fields()
    assert (known["email"].label, known["email"].help) == ("Email", "Where the user can be reached.")
    assert known["count"].help == "How many."
    assert (known["count"].min, known["count"].max, known["count"].default) == (1, 10, 1)
    assert (known["code"].pattern, known["code"].min) == ("^[A-Z]{3}$", 3)
    assert known["plan"].choices == [Choice("basic", "basic"), Choice("premium", "premium")]
    assert known["roles"].choices == [Choice("admin", "admin"), Choice("user", "user")]
    assert (known["licence"].default, known["notify"].default) == ("e3", True)


def test_a_field_with_the_name_of_a_secret_is_sensitive() -> None:
    assert [name for name, field in fields().items() if field.sensitive] == ["password"]


def test_the_form_has_the_name_of_its_workflow() -> None:
    spec = spec_of(onboard_user)
    assert spec is not None
    form = generated_form(spec.manifest)
    assert (form.id, form.linked_workflow, form.name) == ("onboard_user", "onboard_user", "Onboard user")
    assert form.description == "Makes a user."


def test_formats_and_pydantic_types_are_known() -> None:
    @workflow(name="mailed", description="x")
    async def mailed(context: Context, to: Mail, when: datetime | None = None, n: PositiveInt = 1) -> None: ...

    spec = spec_of(mailed)
    assert spec is not None
    assert [(field.name, field.type) for field in generated_form(spec.manifest).fields] == [
        ("to", "email"),
        ("when", "datetime"),
        ("n", "integer"),
    ]


def test_an_authors_pattern_that_a_form_may_not_have_is_left_to_the_workflow() -> None:
    @workflow(name="patterned", description="x")
    async def patterned(
        context: Context,
        a: Annotated[str, Meta(pattern="^(?=.*[0-9]).{8,}$")],
        b: Annotated[str, Meta(pattern="^(x)?(?(1)y|z)$")] = "",
    ) -> None: ...

    spec = spec_of(patterned)
    assert spec is not None
    assert [(field.name, field.type, field.pattern) for field in generated_form(spec.manifest).fields] == [
        ("a", "text", None),
        ("b", "text", None),
    ]


def test_what_fits_the_generated_form_fits_the_workflow() -> None:
    """An unchecked box is false, and an empty field is null where the function insists on a value."""

    @workflow(name="insists", description="x")
    async def insists(context: Context, sure: bool, note: str | None, n: int = 3, **extra: int) -> None: ...

    spec = spec_of(insists)
    assert spec is not None
    questionnaire = Questionnaire(generated_form(spec.manifest), spec.manifest, generated=True)
    given = {"note": "", "more": 7}
    parameters = questionnaire.parameters(questionnaire.answers(given), given)
    assert parameters == {"sure": False, "note": None, "n": 3, "more": 7}
    assert spec.bind(parameters) == parameters
