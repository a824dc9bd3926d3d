"""What the API server asks of a single rule (`x-kubernetes-validations`) of a CRD's schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgeherd_sim.kube import causes
from edgeherd_sim.kube.causes import Cause, Raw
from edgeherd_sim.kube.cel_checks import RuleProblem, Surroundings, check_expression

Schema = Mapping[str, Any]

_REASONS: Final = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def check_wording(rule: Schema, schema: Schema, field: str) -> Iterator[Cause]:
    """What is wrong with a rule before it is read as CEL."""
    text, message = rule.get("rule", ""), rule.get("message", "")
    if not text.strip():
        yield causes.required(f"{field}.rule", "rule is not specified")
    elif message and not message.strip():
        yield causes.invalid(f"{field}.message", message, "must be non-empty if specified")
    elif "\n" in message.strip():
        yield causes.invalid(f"{field}.message", message, "must not contain line breaks")
    elif "\n" in text.strip() and not message.strip():
        yield causes.required(f"{field}.message", "message must be specified if rule contains line breaks")
    yield from _check_extras(rule, schema, field)


def _check_extras(rule: Schema, schema: Schema, field: str) -> Iterator[Cause]:
    expression = rule.get("messageExpression", "")
    if expression and not expression.strip():
        yield causes.required(f"{field}.messageExpression", "messageExpression must be non-empty if specified")
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        yield causes.unsupported(f"{field}.reason", rule["reason"], _REASONS)
    path = rule.get("fieldPath", "")
    if path and not path.strip():
        yield causes.invalid(f"{field}.fieldPath", path, "must be non-empty if specified")
    if "\n" in path:
        yield causes.invalid(f"{field}.fieldPath", path, "must not contain line breaks")
    if path:
        try:
            field_at(schema, path)
        except ValueError:
            yield causes.invalid(f"{field}.fieldPath", path, "must be a valid path")


def check_rule(rule: Schema, field: str, around: Surroundings, uncorrelated: tuple[str, ...]) -> Iterator[Cause]:
    """What is wrong with a rule as CEL; `uncorrelated` are the lists around it that are no maps."""
    expression = check_expression(rule["rule"].strip(), around, wanted="bool")
    around.costs.append((expression.cost, f"{field}.rule"))
    if expression.too_costly:
        yield causes.forbidden(f"{field}.rule", expression.too_costly)
    if expression.problem:
        yield causes.invalid(f"{field}.rule", _rendered(rule), _why(expression, "", "cel expression", "bool"))
    text = rule.get("messageExpression", "").strip()
    if text:
        message = check_expression(text, around, wanted="string")
        if message.problem:
            why = _why(message, "messageExpression ", "messageExpression", "string")
            yield causes.invalid(f"{field}.messageExpression", _rendered(rule), why)
    if expression.uses_old and uncorrelated:
        why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated[-1]}"
        yield causes.invalid(f"{field}.rule", rule["rule"], why)
    if not expression.uses_old and rule.get("optionalOldSelf") is not None and not expression.problem:
        why = "may not be set if oldSelf is not used in rule"
        yield causes.invalid(f"{field}.optionalOldSelf", rule["optionalOldSelf"], why)


def _why(found: RuleProblem, prefix: str, what: str, wanted: str) -> str:
    if found.wrong_result:
        article = "a " if wanted else ""
        return f"{what} must evaluate to {article}{wanted}"
    return f"{prefix}compilation failed: {found.problem}"


def _rendered(rule: Schema) -> Raw:
    """A rule as the server's messages show it."""
    parts = {
        "Rule": rule.get("rule", ""),
        "Message": rule.get("message", ""),
        "MessageExpression": rule.get("messageExpression", ""),
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath", ""),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
    return Raw("{" + ",".join(f'"{key}":{causes.compact(value)}' for key, value in parts.items()) + "}")


_TOKEN: Final = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+")


def field_at(schema: Schema, path: str, *, brackets: bool = True) -> Schema:
    """The schema of the field that a path such as `.spec['a b'].c` names.

    Raises:
        ValueError: There is no such field, or it is no such path.
    """
    signs = iter(_TOKEN.findall(path))
    for sign in signs:
        name = _next_name(sign, signs, brackets=brackets)
        inner = (schema.get("properties") or {}).get(name)
        if inner is None and not schema.get("properties"):
            inner = schema.get("additionalProperties")
        schema = _existing(inner)
    return schema


def _existing(schema: Any) -> Schema:
    found: Schema | None = schema if isinstance(schema, Mapping) else None
    if found is None:
        raise ValueError("does not refer to a valid field")
    return found


def _next_name(sign: str, rest: Iterator[str], *, brackets: bool) -> str:
    """The name behind a dot or in brackets."""
    if sign not in {".", "["}:
        raise ValueError(f"expected [ or . but got: {sign}")
    if sign == "[" and not brackets:
        raise ValueError("array notation is not allowed")
    name = next(rest, None)
    if name is None:
        raise ValueError("unexpected end of JSON path")
    if sign == ".":
        return name
    if len(name) < 2 or not (name.startswith("'") and name.endswith("'")):
        raise ValueError(f"expected single quoted string but got {name}")
    if (end := next(rest, None)) != "]":
        raise ValueError("unexpected end of JSON path" if end is None else f"expected ] but got {end}")
    return re.sub(r"\\(.)", r"\1", name[1:-1])
