"""Scalars of config.yaml as yaml-rust 0.4.0 resolves them, and the daemon reads what comes of it."""

import re

Scalar = str | int | float | bool | None

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(
    r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|infinity|nan)", re.IGNORECASE
)
_UNREADABLE = re.compile(r"[+-]?\.(?:inf|Inf|INF)|\.(?:nan|NAN)")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_YAML_TAG = "tag:yaml.org,2002:"


def resolve(text: str, *, plain: bool, tag: str = "") -> Scalar:
    """A scalar as yaml-rust 0.4.0 resolves it (src/yaml.rs, `on_event` and `from_str`). An empty plain one is null."""
    if not plain:
        return text
    if tag:
        return _tagged(text, tag)
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789iInN":
        return text  # most are, and expressions take time
    number = _integer(text)
    if number is not None:
        return number
    return _float(text) if _FLOAT.fullmatch(text) or _UNREADABLE.fullmatch(text) else text


def _tagged(text: str, tag: str) -> Scalar:
    """What a tag makes of a plain scalar; null where it does not fit."""
    match tag.removeprefix(_YAML_TAG):
        case "bool":
            return text == "true" if text in {"true", "false"} else None
        case "int":
            return _i64(text) if _INTEGER.fullmatch(text) else None
        case "float":
            return _float(text) if _FLOAT.fullmatch(text) or _UNREADABLE.fullmatch(text) else None
        case "null":
            return None
        case _:
            return text


def is_bad(text: str, tag: str, value: Scalar) -> bool:
    """Whether a tag does not fit."""
    name = tag.removeprefix(_YAML_TAG)
    fits = (
        name not in {"bool", "int", "float", "null"} or value is not None or (name == "null" and text in {"~", "null"})
    )
    return tag.startswith(_YAML_TAG) and not fits


def _integer(text: str) -> int | None:
    for prefix, base, digits in (("0x", 16, "[+-]?[0-9a-fA-F]+"), ("0o", 8, "[+-]?[0-7]+")):
        if text.startswith(prefix) and re.fullmatch(digits, text[2:]):
            return _i64(text[2:], base)
    bare = text.removeprefix("+")
    return _i64(bare) if _INTEGER.fullmatch(bare) else None


def _i64(text: str, base: int = 10) -> int | None:
    """Python reads no more than 4,300 digits; a number that has more fits nowhere."""
    try:
        number = int(text, base)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


def _float(text: str) -> float:
    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))


def is_unreadable(text: str, tag: str) -> bool:
    """Whether a plain scalar is a number to the parser and none to the daemon: an infinity or not-a-number with a dot."""
    return tag in {"", f"{_YAML_TAG}float"} and bool(_UNREADABLE.fullmatch(text))
