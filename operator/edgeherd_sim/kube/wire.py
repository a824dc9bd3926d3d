"""Bodies on the wire: JSON, YAML and protobuf in, objects out."""

import io
import json
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from edgeherd_sim.kube import protobuf
from edgeherd_sim.kube.failures import bad_request, unsupported_media

JSON = "application/json"
YAML_MEDIA = "application/yaml"
_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
"""An escape that JSON has in pairs and YAML not at all."""
PROTOBUF = "application/vnd.kubernetes.protobuf"
_SHOWN = 2048


def media_type(header: str) -> str:
    """A Content-Type without its parameters."""
    return header.partition(";")[0].strip().lower()


def decode(raw: bytes, header: str, *, kind: str, custom: bool) -> tuple[Any, list[str]]:
    """The object in a request's body, and its duplicate fields.

    Raises:
        Failure: 400 or 415, there is none to be found in it.
    """
    media = media_type(header) or JSON
    if media == JSON:
        return _json(raw, kind)
    if media == YAML_MEDIA:
        return from_yaml(raw), []
    if media == PROTOBUF and not custom:
        try:
            return protobuf.decode(raw), []
        except protobuf.ProtobufError as exc:
            raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {exc}") from exc
    raise unsupported_media([JSON, YAML_MEDIA] + ([] if custom else [PROTOBUF]))


def _json(raw: bytes, kind: str) -> tuple[Any, list[str]]:
    try:
        body = json.loads(raw)
    except ValueError as exc:
        text = raw[:_SHOWN].decode(errors="replace")
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse "
            f"error: {exc} ({text})"
        ) from exc
    if not isinstance(body, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): it is no object")
    return body, _duplicates(raw)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON with all its pairs."""


def _duplicates(raw: bytes) -> list[str]:
    found: list[str] = []
    _search(json.loads(raw, object_pairs_hook=_Pairs), "", found)
    return found


def _search(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            where = f"{path}.{key}" if path else key
            if key in seen:
                found.append(f'duplicate field "{where}"')
            seen.add(key)
            _search(item, where, found)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _search(item, f"{path}[{number}]", found)


def from_yaml(raw: bytes, *, any_type: bool = False) -> Any:
    """A YAML document; JSON is one. It is an object, unless any type will do.

    Raises:
        Failure: 400, it cannot be parsed.
    """
    if not any_type and _SURROGATE.search(raw):
        raise bad_request(
            "error decoding YAML: error converting YAML to JSON: yaml: found invalid Unicode character escape code"
        )
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        loaded = YAML(typ="safe", pure=True).load(io.BytesIO(raw))
    except YAMLError as exc:
        raise bad_request(f"error decoding YAML: {exc}") from exc
    if not any_type and not isinstance(loaded, dict):
        raise bad_request("error decoding YAML: it is no object")
    # Dates and the like become text again, as JSON has no such thing.
    return json.loads(json.dumps(loaded, default=str))
