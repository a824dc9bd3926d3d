"""The provisioning section of config.toml, as each version from 1.2.0 to 1.6 has it.

Sources: aziotctl-common/src/config/super_config.rs, mod.rs and apply.rs (Azure/iot-identity-service), each at its tag.
"""

import functools
from typing import Any

from edgeherd.config.daemon_values import Base64, KeyPlace, takes_key
from edgeherd.config.shapes import AnyOf, Item, Opt, Problems, Shape, Str, Struct, Tagged, Url, complain
from edgeherd.config.super_config import issued
from edgeherd.config.values import Version


@functools.lru_cache(maxsize=16)
def provisioning(version: Version) -> Shape:
    """The provisioning section."""
    dps: dict[str, Shape] = {"global_endpoint": Url(), "id_scope": Str(), "attestation": _attestation(version)}
    if version.numbers >= (1, 4):
        dps["payload"] = Opt(Struct({"uri": Url()}))
    return Tagged("source", {"manual": _Manual(version), "dps": Struct(dps), "none": Struct({})})


def _attestation(version: Version) -> Shape:
    name: Shape = Opt(Str()) if version.numbers >= (1, 2, 4) else Str()
    methods: dict[str, Shape] = {
        "symmetric_key": Struct({"registration_id": Str(), "symmetric_key": _symmetric_key(version)}),
        "x509": _X509(version, {"registration_id": name}),
        "tpm": Struct({"registration_id": Str()}),
    }
    return Tagged("method", methods)


def _symmetric_key(version: Version) -> Shape:
    """The key itself, or where it is."""
    return AnyOf((("value", Struct({"value": Base64(version)})), ("uri", Struct({"uri": KeyPlace()}))))


class _X509:
    """A certificate that is issued, or one that is there."""

    def __init__(self, version: Version, fields: dict[str, Shape]) -> None:
        self._others = Struct(fields)
        self._issued = Struct({"identity_cert": issued(version)})
        self._there = Struct({"identity_cert": Url(), "identity_pk": KeyPlace()})

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        others = self._others.read(item, path, problems)
        certificate = item.value.get("identity_cert", Item(None))
        is_issued = isinstance(certificate.value, dict)
        said = (self._issued if is_issued else self._there).read(item, path, problems)
        return None if said is None or others is None else {**others, **said}


class _Manual:
    """A connection string, or its parts; where both are whole the connection string counts."""

    def __init__(self, version: Version) -> None:
        self._version = version
        methods: dict[str, Shape] = {
            "sas": Struct({"device_id_pk": _symmetric_key(version)}),
            "x509": _X509(version, {}),
        }
        authentication = Tagged("method", methods)
        self._parts = Struct({"iothub_hostname": Str(), "device_id": Str(), "authentication": authentication})

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        given = item.value.get("connection_string")
        tried: Problems = []
        if given is not None:
            said = ConnectionString(self._version).read(given, f"{path}.connection_string", tried)
            if not tried:
                return {"connection_string": said}
            if isinstance(given.value, str) and self._version.numbers < (1, 3):
                problems += tried  # any text was taken for one there, and read later
                return None
        other: Problems = []
        whole = self._parts.read(item, path, other)
        if not other:
            return whole
        if given is None and not item.value.keys() & {"iothub_hostname", "device_id", "authentication"}:
            message = f"[{path}] has no connection_string. Put the device's connection string in."
            other = []
            complain(other, item.line, "missing", message)
        problems += tried or other
        return None


class ConnectionString:
    """aziotctl-common/src/config/mod.rs, `parse_manual_connection_string`."""

    def __init__(self, version: Version) -> None:
        self._version = version

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        """See `Shape`."""
        said = Str().read(item, path, problems)
        if said is None:
            return None
        found = self._parts(said)
        rule = "connection-string-empty" if not said else "connection-string-malformed"
        for name in ("HostName", "DeviceId", "SharedAccessKey"):
            if found.get(name) is None:
                complain(problems, item.line, rule, f"The connection string has no {name}. Copy it again from the hub.")
                return None
        if not takes_key(str(found["SharedAccessKey"]), self._version):
            message = "SharedAccessKey of the connection string is not base64 with the right padding. Copy it again from the hub."
            complain(problems, item.line, rule, message)
            return None
        return said

    def _parts(self, text: str) -> dict[str, str | None]:
        """Names are split off at the first '='. 1.2 goes on to the next one, so that it never sees the padding."""
        if self._version.numbers >= (1, 3):
            pairs = [part.partition("=") for part in text.split(";") if "=" in part]
            return {name: value for name, _, value in pairs}
        parts = [part.split("=") for part in text.split(";")]
        return {name: rest[0] if rest else None for name, *rest in parts}
