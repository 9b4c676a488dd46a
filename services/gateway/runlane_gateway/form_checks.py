"""What can be wrong with a designed form. Checked when it is saved, and again when it is shown: workflows change."""

from collections.abc import Callable, Iterator, Mapping

from runlane.contracts.directory import Manifest
from runlane.contracts.forms import Choice, ChoiceSource, FieldType, Form, FormField, Rule
from runlane.directory import Directory
from runlane.errors import ValidationError

from .form_schemas import LISTS, NUMBERS, TEXTS, ParameterSchemas, check_pattern, compiled, schema_of
from .form_submission import in_order_of_need, is_empty

MOST_FIELDS = 200
MOST_CHOICES = 1000
_LONGEST_WORDS = 200
_LONGEST_TEXT = 4000
_MOST_RULES = 20
_LONGEST_KEPT = 86_400
_LONGEST_LENGTH = 1_000_000

_JSON_TYPES: dict[FieldType, frozenset[str]] = {
    **dict.fromkeys(TEXTS, frozenset({"string"})),
    **dict.fromkeys(LISTS, frozenset({"array"})),
    "integer": frozenset({"integer", "number"}),
    "number": frozenset({"number"}),
    "boolean": frozenset({"boolean"}),
}
_BOUNDED = TEXTS | NUMBERS | LISTS

Problems = Iterator[ValidationError]
Fields = Mapping[str, FormField]


def problems_of(form: Form, directory: Directory) -> Problems:
    """Everything that keeps the form from working, each with the place in it, such as `fields[2].pattern`."""
    manifest = directory.workflow(form.linked_workflow)
    yield from _wordings(form)
    yield from _of_workflow(form, manifest, directory)
    yield from _of_fields(form, directory)
    if manifest is not None:
        yield from _of_parameters(form, ParameterSchemas(manifest))


def _wordings(form: Form) -> Problems:
    if not form.name.strip() or len(form.name) > _LONGEST_WORDS:
        yield ValidationError(f"name: give it 1 to {_LONGEST_WORDS} characters", "name")
    if len(form.description) > _LONGEST_TEXT:
        yield ValidationError(f"description: at most {_LONGEST_TEXT} characters", "description")
    if len(form.fields) > MOST_FIELDS:
        yield ValidationError(f"fields: at most {MOST_FIELDS}", "fields")


def _of_workflow(form: Form, manifest: Manifest | None, directory: Directory) -> Problems:
    place, name = "linkedWorkflow", form.linked_workflow
    if manifest is None:
        yield ValidationError(f"{place}: there is no workflow {name[:64]!r}", place)
    elif not manifest.expose_in_forms:
        yield ValidationError(f"{place}: workflow {name!r} is declared with expose_in_forms=False", place)
    if form.id != name and directory.workflow(form.id) is not None:
        yield ValidationError(f"id: {form.id!r} is the name of another workflow, which has a form of that name", "id")


def _of_fields(form: Form, directory: Directory) -> Problems:
    fields: dict[str, FormField] = {}
    for index, field in enumerate(form.fields):
        if fields.setdefault(field.name, field) is not field:
            yield _at(index, "name", f"there is another field {field.name[:64]!r}")
    for index, field in enumerate(form.fields):
        for attribute, reason in _of_field(field, fields, directory):
            yield _at(index, attribute, reason)
    try:
        in_order_of_need(form.fields)
    except ValueError as problem:
        yield ValidationError(f"fields: {problem}", "fields")


def _at(index: int, attribute: str, reason: str) -> ValidationError:
    place = f"fields[{index}].{attribute}"
    return ValidationError(f"{place}: {reason}", place)


# --- one field, by itself: (attribute, reason) ------------------------------------------------------------------------

_Reasons = Iterator[tuple[str, str]]


def _of_field(field: FormField, fields: Fields, directory: Directory) -> _Reasons:
    if not field.name.isidentifier() or len(field.name) > _LONGEST_WORDS:
        yield "name", "it must be the name of a parameter"
    if len(field.label) > _LONGEST_WORDS:
        yield "label", f"at most {_LONGEST_WORDS} characters"
    if len(field.help) > _LONGEST_TEXT:
        yield "help", f"at most {_LONGEST_TEXT} characters"
    yield from _of_constraints(field)
    yield from _of_offer(field)
    yield from _of_rules(field, fields)
    if field.choices_from is not None:
        yield from _of_source(field.choices_from, field, fields, directory)
    yield from _of_sensitivity(field)


def _of_constraints(field: FormField) -> _Reasons:
    if field.pattern is not None:
        if field.type not in ("text", "multiline"):
            yield "pattern", f"a {field.type} field has none"
        try:
            check_pattern(field.pattern)
        except ValidationError as problem:
            yield "pattern", problem.message
    for attribute, bound in (("min", field.min), ("max", field.max)):
        if bound is None:
            continue
        if field.type not in _BOUNDED:
            yield attribute, f"a {field.type} field has none"
        elif field.type not in NUMBERS and (bound != int(bound) or not 0 <= bound <= _LONGEST_LENGTH):
            yield attribute, f"give a whole number from 0 to {_LONGEST_LENGTH}"
    if field.min is not None and field.max is not None and field.min > field.max:
        yield "min", "it is more than max"


def _of_offer(field: FormField) -> _Reasons:
    wants = field.type in ("choice", "choices")
    given = (bool(field.choices), field.choices_from is not None)
    if wants and sum(given) != 1:
        yield "choices", f"a {field.type} field needs choices or choicesFrom, and not both"
    if not wants and any(given):
        yield "choices", f"a {field.type} field has none"
    if len(field.choices) > MOST_CHOICES:
        yield "choices", f"at most {MOST_CHOICES}"
    values = [(type(choice.value) is bool, choice.value) for choice in field.choices]
    if len(set(values)) < len(values):
        yield "choices", "a value is there twice"


def _of_rules(field: FormField, fields: Fields) -> _Reasons:
    if len(field.visible_when) > _MOST_RULES:
        yield "visibleWhen", f"at most {_MOST_RULES} rules"
    for index, rule in enumerate(field.visible_when):
        reason = _wrong_with(rule, field, fields)
        if reason is not None:
            yield f"visibleWhen[{index}]", reason


def _wrong_with(rule: Rule, field: FormField, fields: Fields) -> str | None:
    if rule.field == field.name:
        return "a field cannot depend on itself"
    if rule.field not in fields:
        return f"there is no field {rule.field[:64]!r}"
    if rule.operator in ("in", "notIn") and not isinstance(rule.value, list):
        return f"`{rule.operator}` needs a list as its value"
    if rule.operator in ("filled", "empty") and rule.value is not None:
        return f"`{rule.operator}` has no value"
    return None


def _of_source(source: ChoiceSource, field: FormField, fields: Fields, directory: Directory) -> _Reasons:
    for name in source.inputs.values():
        if name not in fields or name == field.name:
            yield "choicesFrom.inputs", f"there is no other field {name[:64]!r}"
        elif fields[name].sensitive:
            yield "choicesFrom.inputs", f"field {name!r} is sensitive, and what choices are asked with is not"
    if not 0 <= source.cache_seconds <= _LONGEST_KEPT:
        yield "choicesFrom.cacheSeconds", f"give seconds from 0 to {_LONGEST_KEPT}"
    manifest = directory.workflow(source.workflow)
    if manifest is None or not manifest.data_provider:
        yield "choicesFrom.workflow", f"no workflow {source.workflow[:64]!r} is declared with data_provider=True"
        return
    schemas, given = ParameterSchemas(manifest), {**source.parameters, **source.inputs}
    for name in given:
        if name not in schemas.properties and not schemas.open:
            yield "choicesFrom", f"{source.workflow} has no parameter {name[:64]!r}"
    for name in sorted(schemas.required - given.keys()):
        yield "choicesFrom", f"{source.workflow} needs its parameter {name!r}"


def _of_sensitivity(field: FormField) -> _Reasons:
    if not field.sensitive:
        return
    if field.type not in TEXTS | NUMBERS:
        yield "sensitive", f"a {field.type} field cannot be: only texts and numbers can be kept out of every record"
    if not is_empty(field.default):
        yield "default", "a sensitive field has none: everybody who opens the form would see it"


# --- the fields and the workflow's parameters -------------------------------------------------------------------------


def _of_parameters(form: Form, schemas: ParameterSchemas) -> Problems:
    names = {field.name for field in form.fields}
    for name in sorted(schemas.required - names):
        if not schemas.takes(name, None):
            yield ValidationError(f"fields: {form.linked_workflow} needs its parameter {name!r}", "fields")
    for index, field in enumerate(form.fields):
        if field.name not in schemas.properties:
            if not schemas.open:
                yield _at(index, "name", f"{form.linked_workflow} has no parameter {field.name[:64]!r}")
            continue
        for attribute, reason in _of_fit(field, schemas):
            yield _at(index, attribute, reason)


def _of_fit(field: FormField, schemas: ParameterSchemas) -> _Reasons:
    wanted = schemas.types(schemas.properties[field.name])
    given = _JSON_TYPES.get(field.type)
    if given is not None and wanted and not given & wanted:
        yield "type", f"the parameter takes {' or '.join(sorted(wanted))}, which a {field.type} field does not give"
        return

    def taken(value: object) -> bool:
        return schemas.takes(field.name, [value] if field.type == "choices" else value)

    odd = _first(field.choices, lambda choice: not taken(choice.value))
    if odd is not None:
        yield "choices", f"the parameter does not take {odd.value!r}"
    if not is_empty(field.default) and not (_fits(field) and schemas.takes(field.name, field.default)):
        yield "default", "it is no value of this field"


def _fits(field: FormField) -> bool:
    try:
        return compiled(schema_of(field)).is_valid(field.default)
    except ValueError:
        return True  # the pattern is at fault, and named


def _first(choices: list[Choice], wrong: Callable[[Choice], bool]) -> Choice | None:
    return next((choice for choice in choices if wrong(choice)), None)
