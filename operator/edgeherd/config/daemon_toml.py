"""config.toml as `iotedge config apply` of IoT Edge 1.2 and later understands it.

Sources: iotedge/src/config/super_config.rs, edgelet-settings/src (Azure/iotedge 1.2 to 1.6) and
aziotctl-common/src/config (Azure/iot-identity-service 1.2 to 1.6). Keys that are not known there are ignored.
"""

import hashlib
import json
from typing import Any

from edgeherd.config.daemon_values import takes_key
from edgeherd.config.shapes import Item, Problems, complain, errors
from edgeherd.config.super_config import super_config
from edgeherd.config.super_provisioning import ConnectionString, provisioning
from edgeherd.config.toml_grammar import parsed, unreadable
from edgeherd.config.toml_statements import Path, TomlSyntaxError, statements
from edgeherd.config.values import X509, Settings, Version

__all__ = ["default_image", "takes_connection_string", "takes_key", "understand"]


def default_image(version: Version) -> str:
    """The agent's image where the file names none."""
    return f"mcr.microsoft.com/azureiotedge-agent:{version.numbers[0]}.{version.numbers[1]}"


def takes_connection_string(text: str, version: Version) -> bool:
    """Whether that version takes a text for a connection string."""
    problems: Problems = []
    ConnectionString(version).read(Item(text), "", problems)
    return not problems


def understand(text: str, version: Version) -> tuple[Settings | None, Problems]:
    """What `config apply` makes of a text: the settings, or what it would stop at.

    What cannot be judged from the text is among the problems in both cases.
    """
    problems: Problems = []
    try:
        data = parsed(text, version)
    except TomlSyntaxError as exc:
        problems += unreadable(exc).problems
        return None, problems
    root = _item(data, (), _lines(text))
    said = super_config(version).read(root, "", problems)
    section = root.value.get("provisioning")
    if section is None:
        complain(problems, None, "missing", "There is no [provisioning] section. Uncomment one and fill it in.")
    else:
        said["provisioning"] = provisioning(version).read(section, "provisioning", problems)
        _refuse_nested_dps(said, root, problems)
    return (None if errors(problems) else _summary(said, version)), problems


def tree(text: str, version: Version) -> Item | None:
    """All that a text says, each value with its line; None for a text that is not TOML."""
    try:
        return _item(parsed(text, version), (), _lines(text))
    except TomlSyntaxError:
        return None


def _refuse_nested_dps(said: Any, root: Item, problems: Problems) -> None:
    """The identity service knows the provisioning service only of devices that reach it by themselves."""
    section = said["provisioning"]
    if section is not None and section["source"] == "dps" and said["parent_hostname"] is not None:
        parent = root.value.get("parent_hostname") or root.value["local_gateway_hostname"]
        message = "parent_hostname and provisioning with source 'dps' exclude each other. Remove one of them."
        complain(problems, parent.line, "provisioning", message)


def _lines(text: str) -> dict[Path, int]:
    """Where each path is said for the first time; a table that only its parts make is where the first of them is."""
    found: dict[Path, int] = {}
    for statement in statements(text):
        for depth in range(len(statement.path), 0, -1):
            found.setdefault(statement.path[:depth], statement.line)
    return found


def _item(value: Any, path: Path, lines: dict[Path, int], line: int | None = None) -> Item:
    line = lines.get(path, line)
    if isinstance(value, dict):
        return Item({key: _item(inner, (*path, key), lines, line) for key, inner in value.items()}, line)
    if isinstance(value, list):
        return Item([_item(inner, path, lines, line) for inner in value], line)
    return Item(value, line)


def _summary(said: Any, version: Version) -> Settings:
    provisioning, agent = said["provisioning"], said["agent"] or {}
    inner = provisioning.get("authentication") or provisioning.get("attestation") or {}
    source = ".".join(filter(None, [provisioning["source"], inner.get("method", "")]))
    connection_string = provisioning.get("connection_string") or ""
    if connection_string:
        source = "manual.device_connection_string"
    elif inner.get("method") == "sas" and "value" in inner["device_id_pk"]:
        host, device_id, key = (
            provisioning["iothub_hostname"],
            provisioning["device_id"],
            inner["device_id_pk"]["value"],
        )
        connection_string = f"HostName={host};DeviceId={device_id};SharedAccessKey={key}"
    text = json.dumps(said, sort_keys=True, ensure_ascii=True, default=str)
    return Settings(
        source=source,
        connection_string=connection_string,
        hostname=said["hostname"] or "",
        agent_image=agent.get("config", {}).get("image") or default_image(version),
        agent_env=agent.get("env") or {},
        meaning=hashlib.sha256(text.encode()).hexdigest(),
        x509=_x509(provisioning, inner) if source == "manual.x509" and "identity_pk" in inner else None,
    )


def _x509(provisioning: Any, authentication: Any) -> X509:
    return X509(
        iothub_hostname=provisioning["iothub_hostname"],
        device_id=provisioning["device_id"],
        identity_cert=authentication["identity_cert"],
        identity_pk=authentication["identity_pk"],
    )
