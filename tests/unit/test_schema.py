"""Signatures as JSON Schema, and JSON values as arguments."""

import dataclasses
import enum
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict

import jsonschema_rs
import msgspec
import pydantic
import pytest

from runlane.errors import ValidationError
from runlane.schema import UnsupportedSignature, read_signature

if TYPE_CHECKING:
    from nowhere import Context  # type: ignore[import-not-found]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Address:
    city: str
    zip: int = 0

    def __post_init__(self) -> None:
        if self.zip < 0:
            raise ValueError("zip must not be negative")


class User(msgspec.Struct):
    email: str
    address: Address | None = None


class Options(TypedDict):
    limit: int
    dry: NotRequired[bool]


class Point(NamedTuple):
    x: int
    y: int = 0


class Node(pydantic.BaseModel):
    name: str
    colour: Colour = Colour.RED
    kids: list["Node"] = []


@dataclasses.dataclass
class Holder:
    node: Node


class Money(pydantic.BaseModel):
    amount: Decimal
    due: date | None = None


def everything(  # type: ignore[no-untyped-def]
    context: "Context",
    text: str,
    number: int,
    ratio: float,
    flag: bool,
    items: list[int],
    table: dict[str, float],
    pair: tuple[int, str],
    unique: set[str],
    maybe: str | None,
    old_maybe: Optional[int],  # noqa: UP045
    either: int | str,
    choice: Literal["a", "b"],
    colour: Colour,
    at: datetime,
    times: list[datetime | None],
    day: date,
    clock: time,
    span: timedelta,
    ident: uuid.UUID,
    price: Decimal,
    options: Options,
    point: Point,
    address: Address,
    users: list[User],
    node: Node,
    nodes: dict[str, Node],
    held: Holder,
    money: Money | str,
    positive: Annotated[int, pydantic.Field(gt=0)],
    short: Annotated[str, msgspec.Meta(max_length=3, description="At most three")],
    free,
    page: int = 20,
    implied: str = None,  # type: ignore[assignment]  # noqa: RUF013
) -> None: ...


ROWS: list[tuple[str, Any, Any, list[Any]]] = [
    ("text", "a", "a", [1, None, True]),
    ("number", 5, 5, ["5", 5.5, True, None]),
    ("ratio", 1, 1.0, ["1", None]),
    ("flag", True, True, [1, "true", None]),
    ("items", [1, 2], [1, 2], [["1"], 1, {"a": 1}]),
    ("table", {"a": 1.5}, {"a": 1.5}, [{"a": "b"}, []]),
    ("pair", [1, "a"], (1, "a"), [[1], ["a", 1], [1, "a", 2]]),
    ("unique", ["a", "b"], {"a", "b"}, ["a", [1]]),
    ("maybe", None, None, [1]),
    ("old_maybe", 3, 3, ["3"]),
    ("either", "x", "x", [None, 1.5]),
    ("choice", "a", "a", ["c", 1]),
    ("colour", "blue", Colour.BLUE, ["BLUE", "green", 1]),
    ("at", "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), ["yesterday", 5, "2026-01-02T03:04:05"]),
    ("times", ["2026-01-02T03:04:05Z", None], [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None], [["2026"], "2026"]),
    ("day", "2026-01-02", date(2026, 1, 2), ["2026-13-01", 5]),
    ("clock", "03:04:05Z", time(3, 4, 5, tzinfo=UTC), [5]),
    ("span", "PT90S", timedelta(seconds=90), ["90 seconds"]),
    ("ident", str(uuid.UUID(int=7)), uuid.UUID(int=7), ["7", 7]),
    ("price", "1.50", Decimal("1.50"), [[], None]),
    ("options", {"limit": 1}, {"limit": 1}, [{}, {"limit": "1"}, {"limit": 1, "dry": 1}]),
    ("point", [1], Point(1, 0), [[], ["a"], {"x": 1}]),
    ("address", {"city": "Ulm"}, Address("Ulm"), [{}, {"city": 1}, "Ulm"]),
    ("users", [{"email": "a", "address": {"city": "b"}}], [User("a", Address("b"))], [{}, [{"email": 1}]]),
    ("node", {"name": "a", "kids": [{"name": "b"}]}, Node(name="a", kids=[Node(name="b")]), [{}, {"name": 1}]),
    ("nodes", {"k": {"name": "a", "colour": "blue"}}, {"k": Node(name="a", colour=Colour.BLUE)}, [{"k": 1}]),
    ("held", {"node": {"name": "a"}}, Holder(Node(name="a")), [{"node": 1}, {}]),
    ("money", {"amount": "1.5", "due": "2026-01-02"}, Money(amount=Decimal("1.5"), due=date(2026, 1, 2)), [1, {}]),
    ("positive", 1, 1, [0, "1"]),
    ("short", "abc", "abc", ["abcd"]),
    ("free", {"any": [1]}, {"any": [1]}, []),
    ("page", 5, 5, ["5", None]),
    ("implied", None, None, [1]),
]
VALID = {name: value for name, value, _, _ in ROWS}
SIGNATURE = read_signature(everything)
VALIDATOR = jsonschema_rs.validator_for(SIGNATURE.schema, validate_formats=True)


def test_the_schema_is_valid_json_schema_and_names_every_parameter() -> None:
    assert SIGNATURE.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.meta.is_valid(SIGNATURE.schema)
    assert list(SIGNATURE.schema["properties"]) == list(VALID)
    assert SIGNATURE.schema["required"] == [name for name in VALID if name not in ("page", "implied")]
    assert SIGNATURE.schema["additionalProperties"] is False


def test_valid_values_pass_the_schema_and_become_the_annotated_types() -> None:
    assert VALIDATOR.is_valid(VALID)
    bound = SIGNATURE.bind(VALID)
    assert bound == {name: expected for name, _, expected, _ in ROWS}
    assert type(bound["ratio"]) is float
    assert type(bound["address"]) is Address
    assert type(bound["node"].kids[0]) is Node


@pytest.mark.parametrize(("name", "bad"), [(name, bad) for name, _, _, refused in ROWS for bad in refused])
def test_what_does_not_fit_is_refused_by_the_schema_and_by_binding_alike(name: str, bad: Any) -> None:
    assert not VALIDATOR.is_valid({**VALID, name: bad})
    with pytest.raises(ValidationError) as caught:
        SIGNATURE.bind({**VALID, name: bad})
    assert caught.value.field is not None
    assert caught.value.field.startswith(name)
    assert caught.value.details == {"field": caught.value.field}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"address": {"city": 1}}, "address.city"),
        ({"address": {}}, "address.city"),
        ({"address": {"city": "Ulm", "zip": -1}}, "address"),
        ({"users": [{"email": "a"}, {"email": "b"}, {"email": 3}]}, "users[2].email"),
        ({"users": [{"email": "a", "address": {"zip": 1}}]}, "users[0].address.city"),
        ({"table": {"a": "b"}}, "table"),
        ({"pair": [1, 2]}, "pair[1]"),
        ({"node": {"name": "a", "kids": [{"name": "b"}, {"name": 3}]}}, "node.kids[1].name"),
        ({"nodes": {"k": {}}}, "nodes.k.name"),
        ({"positive": 0}, "positive"),
        ({"nobody": 1}, "nobody"),
        ({"context": 1}, "context"),
    ],
)
def test_an_error_names_the_field_by_its_path(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SIGNATURE.bind({**VALID, **given})
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field}: ")
    assert " at `$" not in caught.value.message


def test_a_time_that_the_schema_cannot_judge_is_refused_by_binding() -> None:
    with pytest.raises(ValidationError, match="clock"):
        SIGNATURE.bind({**VALID, "clock": "25:00:00Z"})


def test_a_datetime_is_without_offset_only_where_the_author_says_so() -> None:
    def local(context: Any, at: Annotated[datetime, msgspec.Meta(tz=False)]) -> None: ...

    assert read_signature(local).bind({"at": "2026-01-02T03:04:05"})["at"].tzinfo is None


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ValidationError, match="number: this parameter is required") as caught:
        SIGNATURE.bind({name: value for name, value in VALID.items() if name != "number"})
    assert caught.value.field == "number"


def test_parameters_left_out_are_left_to_the_function() -> None:
    bound = SIGNATURE.bind({name: value for name, value in VALID.items() if name not in ("page", "implied")})
    assert "page" not in bound
    assert "implied" not in bound
    assert SIGNATURE.schema["properties"]["page"] == {"title": "Page", "default": 20, "type": "integer"}


def test_free_keyword_arguments_allow_any_name_but_the_contexts() -> None:
    def free(context: Any, a: int = 1, **rest: int) -> None: ...

    signature = read_signature(free)
    assert signature.schema["additionalProperties"] == {"type": "integer"}
    assert signature.bind({"a": 2, "b": 3}) == {"a": 2, "b": 3}
    for given, field in (({"b": "x"}, "b"), ({"context": 1}, "context")):
        with pytest.raises(ValidationError) as caught:
            signature.bind(given)
        assert caught.value.field == field


def test_untyped_keyword_arguments_allow_anything() -> None:
    def free(context, **rest):  # type: ignore[no-untyped-def]
        ...

    signature = read_signature(free)
    assert signature.schema["additionalProperties"] is True
    assert signature.bind({"a": [1], "b": None}) == {"a": [1], "b": None}


def test_a_function_of_the_context_alone_takes_no_parameters() -> None:
    def alone(context: Any) -> None: ...

    signature = read_signature(alone)
    assert signature.schema["properties"] == {}
    assert signature.schema["required"] == []
    with pytest.raises(ValidationError):
        signature.bind({"a": 1})


def test_docstrings_describe_parameters() -> None:
    def google(context: Any, first_name: str, users: list[str], plain: str) -> None:
        """Create.

        Args:
            first_name: What they are called,
                on paper.
            users (list[str]): Who else.
        """

    def sphinx(context: Any, email: str, age: int = 1) -> None:
        """Create.

        :param email: Where to write.
        :param int age: How old
            they are.
        """

    properties = read_signature(google).schema["properties"]
    assert properties["first_name"]["description"] == "What they are called, on paper."
    assert properties["first_name"]["title"] == "First name"
    assert properties["users"]["description"] == "Who else."
    assert "description" not in properties["plain"]
    properties = read_signature(sphinx).schema["properties"]
    assert properties["email"]["description"] == "Where to write."
    assert properties["age"]["description"] == "How old they are."
    assert SIGNATURE.schema["properties"]["short"]["description"] == "At most three"


def test_defaults_are_shown_where_json_can_show_them() -> None:
    def defaults(
        context: Any, colour: Colour = Colour.RED, node: Node = Node(name="a"), odd: Any = object()
    ) -> None: ...

    properties = read_signature(defaults).schema["properties"]
    assert properties["colour"]["default"] == "red"
    assert properties["node"]["default"] == {"name": "a", "colour": "red", "kids": []}
    assert "default" not in properties["odd"]


def test_one_class_may_come_to_the_schema_from_msgspec_and_from_pydantic() -> None:
    def both(context: Any, colour: Colour, node: Node, again: Node) -> None: ...

    schema = read_signature(both).schema
    assert jsonschema_rs.meta.is_valid(schema)
    validator = jsonschema_rs.validator_for(schema)
    node = {"name": "a", "colour": "red", "kids": [{"name": "b"}]}
    assert validator.is_valid({"colour": "blue", "node": node, "again": node})
    assert not validator.is_valid({"colour": "blue", "node": node, "again": {"name": "a", "kids": [1]}})


def no_parameters() -> None: ...
def context_by_name(*, context: Any) -> None: ...
def positional(context: Any, a: int, /) -> None: ...
def spread(context: Any, *rest: int) -> None: ...
def callback(context: Any, a: Callable[[], None]) -> None: ...
def unknown(context: Any, a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def ambiguous(context: Any, a: Address | User) -> None: ...
def live_object(context: Any, a: list[pytest.Item]) -> None: ...
def pydantic_with_object(context: Any, a: dict[str, Node | pytest.Item]) -> None: ...


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (no_parameters, None),
        (context_by_name, None),
        (positional, "a"),
        (spread, "rest"),
        (callback, "a"),
        (unknown, "a"),
        (ambiguous, "a"),
        (live_object, "a"),
        (pydantic_with_object, "a"),
    ],
)
def test_a_signature_that_json_cannot_fill_is_refused(function: Callable[..., Any], argument: str | None) -> None:
    with pytest.raises(UnsupportedSignature) as caught:
        read_signature(function)
    assert caught.value.argument == argument
    assert caught.value.reason


def test_a_whole_number_written_with_a_point_fits_an_integer_as_the_schema_says() -> None:
    class Model(pydantic.BaseModel):
        age: int

    def function(context: Any, n: int, ns: list[int], model: Model, x: float = 0.0, free: Any = None) -> None: ...

    signature = read_signature(function)
    given = {"n": 1.0, "ns": [1, 2.0], "model": {"age": 3.0}, "x": 2, "free": 1.0}

    assert jsonschema_rs.validator_for(signature.schema).is_valid(given)
    bound = signature.bind(given)
    assert (bound["n"], bound["ns"], bound["model"].age, bound["free"]) == (1, [1, 2], 3, 1.0)
    assert type(bound["n"]) is int
    with pytest.raises(ValidationError):
        signature.bind({**given, "n": 1.5})
