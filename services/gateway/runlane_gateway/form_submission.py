"""What somebody filled in, checked against its form and turned into parameters. Called by the form doors."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import jsonschema_rs

from runlane.contracts.directory import Manifest
from runlane.contracts.forms import ChoiceSource, Form, FormField, Rule
from runlane.errors import ValidationError
from runlane.parameters import check_value

from .form_schemas import ParameterSchemas, compiled, schema_of

_MOST_REMEMBERED = 1000


class Questionnaire:
    """A form as it was compiled for one version of its workflow. Raises `ValueError` where it cannot be."""

    def __init__(self, form: Form, manifest: Manifest, *, generated: bool) -> None:
        self.form, self.manifest = form, manifest
        # A generated form lets through what the function takes as `**`.
        self._schemas = ParameterSchemas(manifest)
        self._open = generated and self._schemas.open
        self._fields = {field.name: field for field in form.fields}
        self._order = in_order_of_need(form.fields)
        self._validator: jsonschema_rs.Validator = compiled(
            {"properties": {field.name: schema_of(field) for field in form.fields}}
        )

    @property
    def sensitive(self) -> frozenset[str]:
        """The parameters whose values no record may show."""
        return frozenset(field.name for field in self.form.fields if field.sensitive)

    def field(self, name: str) -> FormField | None:
        return self._fields.get(name)

    def answers(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the visible fields, defaults for those that are absent; nothing for those left empty.

        What was given for a hidden field is ignored: a page may still hold it. Raises `ValidationError` naming the
        field.
        """
        self._refuse_unknown(given)
        values: dict[str, Any] = {}
        for field in self._order:
            if not all(holds(rule, values.get(rule.field)) for rule in field.visible_when):
                continue
            value = given.get(field.name, field.default)
            if not is_empty(value):
                values[field.name] = value
            elif field.required:
                raise ValidationError(f"{field.name}: this field is required", field.name)
        check_value(self._validator, values)
        return values

    def parameters(self, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """What the workflow gets of the answers.

        For a field without a value: false for a checkbox, null where the workflow insists and takes it.
        """
        extra = {name: value for name, value in given.items() if name not in self._fields}
        absent = {name: self._stand_in(name) for name in self._fields if self._insists(name) and name not in values}
        return {**extra, **{name: value for name, (value, fits) in absent.items() if fits}, **values}

    def inputs(self, source: ChoiceSource, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a data provider gets, of a form that may be half filled in. Raises `ValidationError`."""
        needed = {name: given.get(name, self._fields[name].default) for name in source.inputs.values()}
        filled = {name: value for name, value in needed.items() if not is_empty(value)}
        check_value(self._validator, filled)
        chosen = {parameter: filled[name] for parameter, name in source.inputs.items() if name in filled}
        return {**source.parameters, **chosen}

    def _insists(self, name: str) -> bool:
        return name in self._schemas.required

    def _stand_in(self, name: str) -> tuple[bool | None, bool]:
        """(value, whether the workflow takes it)."""
        if self._fields[name].type == "boolean":
            return False, True
        return None, self._schemas.takes(name, None)

    def _refuse_unknown(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self._fields and not self._open:
                raise ValidationError(f"{name[:64]}: the form has no such field", name[:64])


class Questionnaires:
    """Compiled forms, compiled again when form or workflow change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Questionnaire] = {}

    def of(self, form: Form, manifest: Manifest, *, generated: bool) -> Questionnaire:
        """Raises `ValueError` for a form that does not compile."""
        known = self._known.get((form.org, form.id))
        if known is None or known.form is not form or known.manifest is not manifest:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[form.org, form.id] = Questionnaire(form, manifest, generated=generated)
        return known


def is_empty(value: object) -> bool:
    """Null, an empty text and an empty list are what an untouched field sends."""
    return value is None or value == "" or value == []


def holds(rule: Rule, value: Any) -> bool:
    """Whether a condition holds for a field's value; a hidden field's is None."""
    match rule.operator:
        case "filled":
            return not is_empty(value)
        case "empty":
            return is_empty(value)
        case "equals":
            return same(value, rule.value)
        case "notEquals":
            return not same(value, rule.value)
        case "in":
            return _among(value, rule.value)
        case "notIn":
            return not _among(value, rule.value)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: `true` is not `1`."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


class Offered:
    """Values to choose among, equal as JSON. Texts and numbers are looked up, not gone through: both sides may have
    thousands."""

    def __init__(self, values: Iterable[Any]) -> None:
        known = list(values)
        self._plain = {(isinstance(it, bool), it) for it in known if not isinstance(it, list | dict)}
        self._nested = [it for it in known if isinstance(it, list | dict)]

    def __contains__(self, value: object) -> bool:
        if isinstance(value, list | dict):
            return value in self._nested
        return (isinstance(value, bool), value) in self._plain


def _among(value: Any, offered: Iterable[Any]) -> bool:
    """Of several values, whether any is."""
    known = Offered(offered)
    return any(one in known for one in (value if isinstance(value, list) else [value]))


def needs(field: FormField) -> set[str]:
    """The fields that have to be known before this one."""
    rules = {rule.field for rule in field.visible_when}
    return rules | (set(field.choices_from.inputs.values()) if field.choices_from is not None else set())


def in_order_of_need(fields: Iterable[FormField]) -> list[FormField]:
    """The fields so that each comes after those it depends on; raises `ValueError` where they go in a circle."""
    known = {field.name: field for field in sorted(fields, key=lambda field: field.order)}
    try:
        names = list(TopologicalSorter({name: needs(field) for name, field in known.items()}).static_order())
    except CycleError as problem:
        raise ValueError(f"the fields depend on each other: {' → '.join(problem.args[1])}") from None
    return [known[name] for name in names if name in known]
