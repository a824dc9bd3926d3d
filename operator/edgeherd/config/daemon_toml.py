"""config.toml as `iotedge config apply` of IoT Edge 1.2 and later understands it.

Sources: iotedge/src/config/super_config.rs, edgelet-settings/src (Azure/iotedge 1.2 to 1.6) and
aziotctl-common/src/config (Azure/iot-identity-service 1.2 to 1.6). Keys that are not known there are ignored.
"""

import base64
import binascii
import hashlib
import json
from typing import Any

from edgeherd.config import toml_text
from edgeherd.config.shapes import (
    Anything,
    Bool,
    Int,
    Item,
    ListOf,
    MapOf,
    Opt,
    Problems,
    Shape,
    Str,
    Struct,
    Tagged,
    Url,
    complain,
)
from edgeherd.config.toml_text import Path, TomlSyntaxError
from edgeherd.config.values import X509, Settings, Version

_STRINGS = ("username", "password", "email", "serveraddress")
_URIS = {"workload_uri": Url(), "management_uri": Url()}


def default_image(version: Version) -> str:
    """The agent's image where the file names none."""
    return f"mcr.microsoft.com/azureiotedge-agent:{version.numbers[0]}.{version.numbers[1]}"


def understand(text: str, version: Version) -> tuple[Settings | None, Problems]:
    """What `config apply` makes of a text: the settings, or what it would stop at."""
    problems: Problems = []
    # The daemon's parser skips a byte order mark.
    text = text.removeprefix("\ufeff")
    try:
        data = toml_text.parsed(text)
    except TomlSyntaxError as exc:
        problems += toml_text.unreadable(exc).problems
        return None, problems
    lines = {statement.path: statement.line for statement in reversed(toml_text.statements(text))}
    root = _item(data, (), lines)
    said = _SUPER_CONFIG.read(root, "", problems)
    provisioning = root.value.get("provisioning")
    if provisioning is None:
        complain(problems, None, "missing", "There is no [provisioning] section. Uncomment one and fill it in.")
    else:
        said["provisioning"] = _provisioning(provisioning, problems)
    return (None, problems) if problems else (_summary(said, version), [])


def _item(value: Any, path: Path, lines: dict[Path, int], line: int | None = None) -> Item:
    line = lines.get(path, line)
    if isinstance(value, dict):
        return Item({key: _item(inner, (*path, key), lines, line) for key, inner in value.items()}, line)
    if isinstance(value, list):
        return Item([_item(inner, path, lines, line) for inner in value], line)
    if isinstance(value, str | bool | int | float):
        return Item(value, line)
    return Item(str(value), line)  # dates and times: no field of the daemon takes one


class _MaxRetries:
    """A number, or the word `infinite`."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        if isinstance(item.value, str):
            return Str(("infinite",)).read(Item(item.value.lower(), item.line), path, problems)
        return Int(2**32 - 1).read(item, path, problems)


class _Network:
    """A name, or a table with one."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        ipam = Struct({"config": Opt(ListOf(Struct({n: Opt(Str()) for n in ("gateway", "subnet", "ip_range")})))})
        table = Struct({"name": Str(), "ipv6": Opt(Bool()), "ipam": Opt(ipam)})
        shape: Shape = table if isinstance(item.value, dict) else Str()
        return shape.read(item, path, problems)


class _EdgeCa:
    """Issued, from files, or made by the daemon itself."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        choices: tuple[Shape, ...] = (
            Tagged("method", {name: Anything() for name in ("est", "local_ca", "self_signed")}),
            Struct({"cert": Url(), "pk": Url()}),
            Struct({"auto_generated_edge_ca_expiry_days": Int(2**32 - 1)}),
        )
        return _any_of(choices, item, path, problems)


def _any_of(shapes: tuple[Shape, ...], item: Item, path: str, problems: Problems) -> Any:
    """The first of the shapes that fits; the complaint names none of them, as the daemon's does not."""
    for shape in shapes:
        tried: Problems = []
        said = shape.read(item, path, tried)
        if not tried:
            return said
    complain(
        problems, item.line, "variant", f"[{path}] is not complete in any of its forms. Compare it with the template."
    )
    return None


_AGENT = Struct(
    {
        "name": Str(),
        "type": Str(),
        "imagePullPolicy": Str(("on-create", "never")),
        "config": Struct(
            {
                "image": Str(),
                "imageHash": Opt(Str()),
                "createOptions": MapOf(Anything()),
                "digest": Opt(Str()),
                "auth": Opt(Struct({name: Opt(Str()) for name in _STRINGS})),
            },
            defaults={"createOptions": {}},
        ),
        "env": MapOf(Str()),
    },
    defaults={"imagePullPolicy": "on-create", "env": {}},
)
_SUPER_CONFIG = Struct(
    {
        "hostname": Opt(Str()),
        "parent_hostname": Opt(Str()),
        "local_gateway_hostname": Opt(Str()),
        "trust_bundle_cert": Opt(Url()),
        "allow_elevated_docker_permissions": Opt(Bool()),
        "auto_reprovisioning_mode": Str(("Dynamic", "AlwaysOnStartup", "OnErrorOnly")),
        "imported_master_encryption_key": Opt(Str()),
        "cloud_timeout_sec": Opt(Int(2**63 - 1)),
        "cloud_retries": Opt(Int(2**32 - 1)),
        "prefer_module_identity_cache": Bool(),
        "localid": Opt(MapOf(Anything())),
        "aziot_keys": Opt(MapOf(Str())),
        "preloaded_keys": Opt(MapOf(Str())),
        "preloaded_certs": Opt(MapOf(Anything())),
        "cert_issuance": Opt(MapOf(Anything())),
        "tpm": Opt(MapOf(Anything())),
        "image_garbage_collection": Opt(MapOf(Anything())),
        "agent": Opt(_AGENT),
        "connect": Opt(Struct(_URIS)),
        "listen": Opt(Struct(_URIS)),
        "watchdog": Struct({"max_retries": _MaxRetries()}, defaults={"max_retries": "infinite"}),
        "edge_ca": Opt(_EdgeCa()),
        "moby_runtime": Opt(Struct({"uri": Url(), "network": _Network(), "content_trust": Opt(MapOf(Anything()))})),
    },
    defaults={
        "auto_reprovisioning_mode": "Dynamic",
        "prefer_module_identity_cache": False,
        "watchdog": {"max_retries": "infinite"},
    },
)
_CERTIFICATE = Struct({"identity_cert": Url(), "identity_pk": Url()})
_ISSUED = Struct({"identity_cert": Tagged("method", {name: Anything() for name in ("est", "local_ca", "self_signed")})})


class _X509:
    """A certificate that is there, or one that is issued."""

    def __init__(self, fields: dict[str, Shape]) -> None:
        self._others = Struct(fields)

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        others = self._others.read(item, path, problems)
        said = _any_of((_ISSUED, _CERTIFICATE), item, path, problems)
        return None if said is None or others is None else {**others, **said}


class _Base64:
    """A key, padded or not."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        said = Str().read(item, path, problems)
        if said is not None and not _is_base64(said):
            complain(problems, item.line, "base64", f"{path} is not base64 of the standard alphabet.")
        return said


class _SymmetricKey:
    """The key itself, or where it is."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        return _any_of((Struct({"value": _Base64()}), Struct({"uri": Url()})), item, path, problems)


def _provisioning(item: Item, problems: Problems) -> Any:
    dps = Struct(
        {
            "global_endpoint": Url(),
            "id_scope": Str(),
            "attestation": Tagged(
                "method",
                {
                    "symmetric_key": Struct({"registration_id": Str(), "symmetric_key": _SymmetricKey()}),
                    "x509": _X509({"registration_id": Opt(Str())}),
                    "tpm": Struct({"registration_id": Str()}),
                },
            ),
            "payload": Opt(Struct({"uri": Url()})),
        }
    )
    variants: dict[str, Shape] = {"manual": _Manual(), "dps": dps, "none": Struct({})}
    return Tagged("source", variants).read(item, "provisioning", problems)


class _Manual:
    """A connection string, or its parts; where both are whole the connection string counts."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        given = item.value.get("connection_string")
        tried: Problems = []
        said = given and _ConnectionString().read(given, f"{path}.connection_string", tried)
        if given is not None and not tried:
            return {"connection_string": said}
        methods = Tagged("method", {"sas": Struct({"device_id_pk": _SymmetricKey()}), "x509": _X509({})})
        parts = Struct({"iothub_hostname": Str(), "device_id": Str(), "authentication": methods})
        other: Problems = []
        whole = parts.read(item, path, other)
        if not other:
            return whole
        if given is None and set(item.value) <= {"source"}:
            message = f"[{path}] has no connection_string. Put the device's connection string in."
            complain(problems, item.line, "missing", message)
        problems += tried or ([] if given is None and set(item.value) <= {"source"} else other)
        return None


class _ConnectionString:
    """aziotctl-common/src/config/mod.rs, `parse_manual_connection_string`: names are split off at the first '='."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        said = Str().read(item, path, problems)
        if said is None:
            return None
        found = dict(part.split("=", 1) for part in said.split(";") if "=" in part)
        rule = "connection-string-empty" if not said else "connection-string-malformed"
        for name in ("HostName", "DeviceId", "SharedAccessKey"):
            if name not in found:
                complain(problems, item.line, rule, f"The connection string has no {name}. Copy it again from the hub.")
                return None
        if not _is_base64(found["SharedAccessKey"]):
            message = "SharedAccessKey of the connection string is not base64. Copy it again from the hub."
            complain(problems, item.line, rule, message)
            return None
        return said


def _is_base64(text: str) -> bool:
    """`base64_decode_ignore_pad`."""
    bare = text.rstrip("=")
    try:
        decoded = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return base64.b64encode(decoded).decode().rstrip("=") == bare


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
    text = json.dumps(said, sort_keys=True, ensure_ascii=True)
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
