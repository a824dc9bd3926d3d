"""Small helpers on plain API objects."""

import datetime as dt
import json
from typing import Any

Body = dict[str, Any]


def clone(value: Any) -> Any:
    """A deep copy of JSON; stored objects are never changed in place."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def now() -> str:
    """The time as the API writes it, to the second."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata(body: Body) -> Body:
    """The metadata of an object, made when missing."""
    found = body.get("metadata")
    if not isinstance(found, dict):
        found = body["metadata"] = {}
    return found


def encode(body: Any) -> bytes:
    """JSON as the API sends it: compact, and a newline at the end."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def digits(text: str) -> int | None:
    """A resourceVersion as a number; None when it is none."""
    return int(text) if text.isascii() and text.isdigit() else None
