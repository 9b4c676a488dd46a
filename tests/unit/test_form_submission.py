"""What was filled in, against the form: required, bounded, visible, and never a value in a message."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from runlane.contracts.directory import Manifest
from runlane.contracts.forms import Choice, ChoiceSource, Form, FormField, Rule
from runlane.errors import ValidationError
from runlane_gateway.form_submission import Questionnaire, holds, in_order_of_need

ANY = Raw(msgspec.json.encode({"type": "object"}))


def questionnaire(*fields: FormField, schema: Raw = ANY) -> Questionnaire:
    form = Form(org="acme", id="f", name="F", linked_workflow="w", fields=list(fields))
    return Questionnaire(form, Manifest(name="w", description="w", parameters=schema), generated=False)


FIELDS = (
    FormField(name="text", min=2, max=5),
    FormField(name="code", pattern="[A-Z]{3}|[0-9]+"),
    FormField(name="mail", type="email"),
    FormField(name="day", type="date"),
    FormField(name="moment", type="datetime"),
    FormField(name="n", type="integer", min=1, max=3),
    FormField(name="x", type="number", max=1.5),
    FormField(name="sure", type="boolean"),
    FormField(name="one", type="choice", choices=[Choice("a"), Choice(1)]),
    FormField(name="some", type="choices", choices=[Choice("a"), Choice("b")], max=1),
    FormField(name="list", type="list", min=2),
    FormField(name="json", type="json"),
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "a"),
        ("text", "abcdef"),
        ("text", 3),
        ("text", ["ab"]),
        ("text", {"a": 1}),
        ("code", "AB"),
        ("code", "ABCD"),
        ("code", "xABC"),
        ("code", "ABC\n"),
        ("mail", "nobody"),
        ("mail", "a b@c.d"),
        ("day", "2026-02-30"),
        ("day", "2026-02-03T00:00:00Z"),
        ("moment", "2026-01-01T00:00:00"),
        ("moment", "yesterday"),
        ("n", "2"),
        ("n", 2.5),
        ("n", 0),
        ("n", 4),
        ("n", True),
        ("x", 1.6),
        ("x", "1"),
        ("sure", "true"),
        ("sure", 1),
        ("one", "b"),
        ("one", True),
        ("one", ["a"]),
        ("some", "a"),
        ("some", ["c"]),
        ("some", ["a", "a"]),
        ("some", ["a", "b"]),
        ("list", [1]),
        ("list", "ab"),
        ("surprise", 1),
        ("org", "globex"),
    ],
)
def test_a_wrong_value_names_its_field_and_is_not_repeated(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        questionnaire(*FIELDS).answers({name: value})
    assert str(refused.value.field).startswith(name)
    if isinstance(value, str) and len(value) > 4:
        assert value not in refused.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "abcde"),
        ("text", "żółw"),
        ("code", "ABC"),
        ("code", "77"),
        ("mail", "a@b.c"),
        ("day", "2026-02-28"),
        ("moment", "2026-01-01T00:00:00+02:00"),
        ("n", 3),
        ("x", -1e9),
        ("sure", False),
        ("one", 1),
        ("some", ["b"]),
        ("list", [1, {"a": None}]),
        ("json", {"deep": [1, 2, {"a": "b"}]}),
    ],
)
def test_a_right_value_is_taken_as_it_is(name: str, value: Any) -> None:
    assert questionnaire(*FIELDS).answers({name: value}) == {name: value}


def test_a_pattern_takes_linear_time() -> None:
    form = questionnaire(FormField(name="text", pattern="(a+)+"))
    with pytest.raises(ValidationError):
        form.answers({"text": "a" * 100_000 + "!"})


@pytest.mark.parametrize("empty", [None, "", []])
def test_a_required_field_left_empty_is_refused(empty: Any) -> None:
    form = questionnaire(FormField(name="name", required=True, default="Ada"))
    assert form.answers({}) == {"name": "Ada"}
    with pytest.raises(ValidationError, match="required") as refused:
        form.answers({"name": empty})
    assert refused.value.field == "name"


def test_an_empty_field_is_left_out_and_an_absent_one_has_its_default() -> None:
    form = questionnaire(FormField(name="a", default="x"), FormField(name="b", type="integer", default=3))
    assert form.answers({"a": ""}) == {"b": 3}
    assert form.answers({}) == {"a": "x", "b": 3}


LICENCE = FormField(name="licence", type="choice", choices=[Choice("none"), Choice("e5")], default="none")
REASON = FormField(name="reason", required=True, visible_when=[Rule("licence", "equals", "e5")])
BOSS = FormField(name="boss", required=True, visible_when=[Rule("reason", "filled")])


def test_a_hidden_field_is_ignored_whatever_it_holds() -> None:
    form = questionnaire(BOSS, REASON, LICENCE)
    assert form.answers({"reason": 5, "boss": ["?"]}) == {"licence": "none"}
    assert form.answers({"licence": "none", "reason": "x"}) == {"licence": "none"}


def test_what_depends_on_a_hidden_field_is_hidden_too() -> None:
    form = questionnaire(BOSS, REASON, LICENCE)
    with pytest.raises(ValidationError) as refused:
        form.answers({"licence": "e5"})
    assert refused.value.field == "reason"
    with pytest.raises(ValidationError) as refused:
        form.answers({"licence": "e5", "reason": "audit"})
    assert refused.value.field == "boss"
    whole = {"licence": "e5", "reason": "audit", "boss": "Eve"}
    assert form.answers(whole) == whole


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "expected"),
    [
        ("equals", 1, 1.0, True),
        ("equals", 1, True, False),
        ("equals", "a", None, False),
        ("notEquals", "a", None, True),
        ("notEquals", True, 1, True),
        ("in", ["a", "b"], "b", True),
        ("in", ["a"], ["x", "a"], True),
        ("in", [1], True, False),
        ("in", [], "a", False),
        ("in", [1.0], [["x"], 1], True),
        ("in", [["a"]], [["a"]], True),
        ("notIn", ["a"], None, True),
        ("notIn", ["a"], ["a"], False),
        ("filled", None, False, True),
        ("filled", None, 0, True),
        ("filled", None, "", False),
        ("empty", None, [], True),
        ("empty", None, "x", False),
    ],
)
def test_rules_compare_as_json_does(operator: Any, wanted: Any, value: Any, expected: bool) -> None:
    assert holds(Rule("f", operator, wanted), value) is expected


class Counted(str):
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


def test_thousands_of_values_are_looked_up_among_thousands() -> None:
    rule = Rule("f", "in", [f"{number}" for number in range(3000)])
    assert not holds(rule, [Counted(f"x{number}") for number in range(3000)])
    assert Counted.compared < 3000


def test_fields_that_depend_on_each_other_are_no_form() -> None:
    one = FormField(name="a", visible_when=[Rule("b", "filled")])
    other = FormField(
        name="b", type="choice", choices_from=ChoiceSource(workflow="p", inputs={"of": "a"}), required=True
    )
    with pytest.raises(ValueError, match=r"depend on each other: .* → "):
        in_order_of_need([one, other])


def test_a_provider_gets_the_fields_it_asks_for_and_nothing_else() -> None:
    source = ChoiceSource(workflow="p", inputs={"of": "n", "like": "text"}, parameters={"kind": "security"})
    form = questionnaire(*FIELDS, FormField(name="group", type="choice", choices_from=source))
    assert form.inputs(source, {"n": 2, "mail": "not looked at"}) == {"kind": "security", "of": 2}
    with pytest.raises(ValidationError) as refused:
        form.inputs(source, {"n": "two"})
    assert refused.value.field == "n"
