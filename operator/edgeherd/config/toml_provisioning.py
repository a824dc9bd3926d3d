"""The provisioning section of a config.toml under edit."""

from collections.abc import Mapping
from typing import Any, Literal

from edgeherd.config import daemon_toml, meaning
from edgeherd.config.connection import for_toml, padded, parse_connection_string, parts_of
from edgeherd.config.toml_draft import Leaf, TomlDraft, pair_text
from edgeherd.config.toml_statements import Path
from edgeherd.config.toml_template import commented_pair, commented_table
from edgeherd.config.values import X509, Version, Wanted

PLACEHOLDER = (
    "HostName=example.azure-devices.net;DeviceId=my-device;SharedAccessKey=YXppb3QtaWRlbnRpdHktc2VydmljZXxhemlvdC1pZGU="
)
"""The template's example of a connection string."""
_PLACEHOLDER_KEY = padded(parse_connection_string(PLACEHOLDER).shared_access_key)
_PLACEHOLDERS = {
    "connection_string": PLACEHOLDER,
    "device_id_pk.value": _PLACEHOLDER_KEY,
    "symmetric_key.value": _PLACEHOLDER_KEY,
}

Kind = Literal["connection string", "parts", "x509", "other", ""]

_HEADINGS = {
    "connection string": "## Manual provisioning with connection string",
    "x509": "## Manual provisioning with X.509 certificate",
}
_IN_TEMPLATE = {
    "connection string": (
        commented_table("provisioning"),
        commented_pair("source", '"manual"'),
        commented_pair("connection_string"),
    ),
    "x509": (
        commented_table("provisioning"),
        commented_pair("source", '"manual"'),
        commented_pair("iothub_hostname"),
        commented_pair("device_id"),
        commented_table("provisioning.authentication"),
        commented_pair("method", '"x509"'),
        commented_pair("identity_pk"),
        commented_pair("identity_cert"),
    ),
}


def provision(draft: TomlDraft, wanted: Wanted) -> None:
    """Make the one active section be what is wanted, if anything is."""
    if wanted.connection_string is not None:
        _provision(draft, _connection_string(wanted.connection_string), "connection string")
    elif wanted.x509 is not None:
        _provision(draft, _x509(wanted.x509), "x509")


def deprovision(draft: TomlDraft) -> None:
    """Make a comment of the section, without what was secret in it."""
    draft.comment_out(("provisioning",), _PLACEHOLDERS)


def _connection_string(text: str) -> dict[Path, Leaf]:
    return {("source",): "manual", ("connection_string",): for_toml(text)}


def _x509(x509: X509) -> dict[Path, Leaf]:
    return {
        ("source",): "manual",
        ("iothub_hostname",): x509.iothub_hostname,
        ("device_id",): x509.device_id,
        ("authentication", "method"): "x509",
        ("authentication", "identity_pk"): x509.identity_pk,
        ("authentication", "identity_cert"): x509.identity_cert,
    }


def _kind(section: Any) -> Kind:
    """What an active section is; '' for one that is no whole section. Keys that the daemon ignores do not count."""
    if not isinstance(section, dict):
        return ""
    if section.get("source") != "manual":
        return "other" if section.get("source") in {"dps", "none"} else ""
    inner = section.get("authentication")
    if inner is None:
        return "" if {"iothub_hostname", "device_id"} & section.keys() else "connection string"
    if "connection_string" in section or not isinstance(inner, dict):
        return ""
    if inner.get("method") == "sas":
        key = inner.get("device_id_pk")
        return "parts" if isinstance(key, dict) and "value" in key and "uri" not in key else ""
    cert = inner.get("identity_cert")
    return "x509" if inner.get("method") == "x509" and not isinstance(cert, dict) else ""


def _provision(draft: TomlDraft, section: dict[Path, Leaf], kind: str) -> None:
    """Make the one active section be `section`."""
    active = draft.data.get("provisioning")
    found = _kind(active)
    if kind == "connection string" and found == "parts":
        section = _parts(str(section["connection_string",]), active, draft.version)
    elif kind == "connection string" and found == kind and _is_right(active, section, draft.version):
        return
    elif found != kind:
        place = None
        if active is not None:
            place = draft.comment_out(("provisioning",), _PLACEHOLDERS)
        if not _uncomment(draft, kind):
            _write_new(draft, section, kind, place)
    draft.put_all({("provisioning", *path): value for path, value in section.items()})


def _is_right(active: Any, section: Mapping[Path, Leaf], version: Version) -> bool:
    """Whether the file's own connection string says what is wanted, in a form that the daemon takes."""
    given, wanted = active.get("connection_string"), str(section["connection_string",])
    if not isinstance(given, str) or not daemon_toml.takes_connection_string(given, version):
        return False
    return parts_of(given) == parts_of(wanted)


def _parts(text: str, active: Any, version: Version) -> dict[Path, Leaf]:
    """A connection string taken apart; a key that says the same stays, if the daemon takes it as it is."""
    string = parse_connection_string(text)
    given = active["authentication"]["device_id_pk"]["value"]
    same = isinstance(given, str) and given.rstrip("=") == string.shared_access_key
    stays = same and daemon_toml.takes_key(given, version)
    return {
        ("iothub_hostname",): string.host_name,
        ("device_id",): string.device_id,
        ("authentication", "device_id_pk", "value"): given if stays else padded(string.shared_access_key),
    }


def _uncomment(draft: TomlDraft, kind: str) -> bool:
    """Uncomment the template's section, unless what stands below would slip into it."""
    before, others = draft.text, draft.others(("provisioning",))
    if not draft.uncomment("provisioning", _IN_TEMPLATE[kind]):
        return False
    if draft.is_unharmed(others, ("provisioning",)) and _kind(draft.data.get("provisioning")) == kind:
        return True
    draft.become(before)
    return False


def _write_new(draft: TomlDraft, section: dict[Path, Leaf], kind: str, place: int | None) -> None:
    """A section in the template's style: below the one that it replaces if nothing slips into it, or at the end."""
    lines = [_HEADINGS[kind], "[provisioning]"]
    lines += [pair_text(path, value) for path, value in section.items() if len(path) == 1]
    inner = [pair_text(path[1:], value) for path, value in section.items() if len(path) > 1]
    if inner:
        lines += ["", "[provisioning.authentication]", *inner]
    if place is not None:
        before, others = draft.text, draft.others(("provisioning",))
        draft.insert_below(place, ["", *lines])
        if draft.is_unharmed(others, ("provisioning",)):
            return
        draft.become(before)
    draft.append(lines)


def own_keys(wanted: Wanted | None, old: Mapping[str, Any]) -> list[str]:
    """The keys that are, or were, the operator's own: no comment may hold them."""
    texts = [
        wanted.connection_string if wanted is not None else None,
        meaning.at(old, ("provisioning", "connection_string")),
    ]
    keys = [parts_of(text)[2] for text in texts if isinstance(text, str)]
    return [*keys, str(meaning.at(old, ("provisioning", "authentication", "device_id_pk", "value")) or "")]


def owned(wanted: Wanted, active: Any) -> list[Path]:
    """A section that is replaced is ours whole; of one that keeps its kind, the values that are wanted."""
    found = _kind(active)
    if wanted.connection_string is None and wanted.x509 is None:
        return []
    if wanted.connection_string is not None and found == "connection string":
        leaves = list(_connection_string(""))
    elif wanted.connection_string is not None and found == "parts":
        leaves = [("iothub_hostname",), ("device_id",), ("authentication", "device_id_pk", "value")]
    elif wanted.x509 is not None and found == "x509":
        leaves = list(_x509(wanted.x509))
    else:
        return [("provisioning",)]
    return [("provisioning", *leaf) for leaf in leaves]
