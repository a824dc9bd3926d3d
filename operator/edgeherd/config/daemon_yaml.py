"""config.yaml as the daemon of IoT Edge 1.0 and 1.1 understands it.

It merges the file into its defaults (config-rs 0.9.3), reads the result by serde, and parses the connection string at
start. Sources: edgelet-core/src/settings.rs, edgelet-docker/src/settings.rs, edgelet-utils/src/yaml_file_source.rs of
1.0.0 to 1.1.15.
"""

import hashlib
import json
import re
from typing import Any

from edgeherd.config import yaml_tree
from edgeherd.config.connection import ConnectionStringError, parse_connection_string
from edgeherd.config.masking import shown_key
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
from edgeherd.config.strays import stray_sections
from edgeherd.config.values import X509, Problem, Settings, Version
from edgeherd.config.yaml_reader import Reader, TooManyError
from edgeherd.config.yaml_tree import ListNode, MapNode, Node, ScalarNode

_URI, _FILE = Url(before_2=True), Url(file=True, before_2=True)
_SOCKETS = {
    "management_uri": "unix:///var/run/iotedge/mgmt.sock",
    "workload_uri": "unix:///var/run/iotedge/workload.sock",
}
_NULLS_REFUSED = ((1, 0, 8), (1, 0, 10, 4))
_TLS: tuple[str, ...] = ("tls", "tls1", "tls10", "tls1.0", "tls1_0", "tlsv10")
_TLS += ("tls11", "tls1.1", "tls1_1", "tlsv11", "tls12", "tls1.2", "tls1_2", "tlsv12")


def _defaults(version: Version) -> Item:
    """edgelet-docker/config/unix/default.yaml."""
    series = "1.1" if version.numbers >= (1, 1, 1) else "1.0"
    plain: dict[str, Any] = {
        "provisioning": {"source": "manual"},
        "agent": {
            "name": "edgeAgent",
            "type": "docker",
            "config": {"image": f"mcr.microsoft.com/azureiotedge-agent:{series}", "auth": {}},
        },
        "hostname": "localhost",
        "connect": _SOCKETS,
        "listen": _SOCKETS,
        "homedir": "/var/lib/iotedge",
        "moby_runtime": {"uri": "unix:///var/run/docker.sock", "network": "azure-iot-edge"},
        "certificates": {"auto_generated_ca_lifetime_days": 90},
    }
    return _without_lines(plain)


def _without_lines(plain: Any) -> Item:
    return Item({k: _without_lines(v) for k, v in plain.items()} if isinstance(plain, dict) else plain)


def understand(text: str, version: Version) -> tuple[Settings | None, Problems]:
    """What the daemon makes of a text: its settings, or what it would stop at."""
    problems: Problems = []
    root = _document(text, problems)
    if root is None or problems:
        return None, problems
    try:
        item = Reader(problems).item(root)
    except TooManyError:
        message = "The file's aliases multiply to more values than the daemon could read. Write the values out."
        complain(problems, None, "reference", message)
        return None, problems
    if isinstance(item.value, dict):
        _find_nulls(item, version, problems)
        merged = _defaults(version)
        for key, inner in item.value.items():
            _set(merged.value, _path(key), inner)
    else:
        merged = _defaults(version)
    said = _settings(version).read(merged, "", problems)
    said["provisioning"] = _provisioning(merged.value["provisioning"], version, problems)
    return (None, problems) if problems else (_summary(said), [])


def _document(text: str, problems: Problems) -> Node | None:
    try:
        documents = yaml_tree.documents(text)
    except yaml_tree.SyntaxProblemError as exc:
        complain(problems, *_blame(text, exc))
        return None
    if len(documents) > 1:
        line = documents[1].line
        complain(problems, line, "documents", "The file has more than one YAML document. Keep one; remove the '---'.")
    return documents[0] if documents else MapNode(start=0, end=0, line=1, column=0, entries=(), flow=False)


def _blame(text: str, error: yaml_tree.SyntaxProblemError) -> tuple[int | None, str, str]:
    """The line that a person has to fix, which often is not the one that the parser stopped at."""
    if text.startswith("\ufeff"):
        message = (
            "The file begins with a byte order mark (BOM), which joins what follows. Save it as UTF-8 without BOM."
        )
        return 1, "bom", message
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r" *\t+ *[^#\s]", line):
            return number, "tab", "The line is indented with a tab. Indent with two spaces."
    stray = next(stray_sections(text), None)
    if stray is not None:
        return stray, "leading-space", "The line must begin in the first column. Remove the spaces before it."
    return error.line, "syntax", f"The file is not YAML: {error.message}."


def _find_nulls(item: Item, version: Version, problems: Problems, path: str = "") -> None:
    if not _NULLS_REFUSED[0] <= version.numbers < _NULLS_REFUSED[1]:
        return
    children: list[tuple[str, Item]] = []
    if isinstance(item.value, dict):
        children = [(f"{path}.{key}".lstrip("."), inner) for key, inner in item.value.items()]
    elif isinstance(item.value, list):
        children = [(path, inner) for inner in item.value]
    for where, inner in children:
        if inner.value is None:
            complain(problems, inner.line, "null", f"{where} has no value, which IoT Edge {version} refuses.")
        _find_nulls(inner, version, problems, where)


_PATH = re.compile(r"[A-Za-z0-9 _-]+(?:\.[A-Za-z0-9 _-]+)+")


def _path(key: str) -> list[str]:
    """config-rs takes a top-level key with dots for a path."""
    return key.split(".") if _PATH.fullmatch(key) else [key]


def _set(table: dict[str, Item], path: list[str], item: Item) -> None:
    """config-rs 0.9.3 (src/path/mod.rs, `set`): tables merge, everything else replaces."""
    key, *rest = path
    if rest:
        inner = table.get(key)
        if inner is None or not isinstance(inner.value, dict):
            inner = table[key] = Item({}, item.line)
        _set(inner.value, rest, item)
    elif isinstance(item.value, dict):
        target = table.setdefault(key, Item({}, item.line))
        if not isinstance(target.value, dict) and item.value:
            target = Item({}, item.line)
        table[key] = Item(target.value, item.line)
        for name, value in item.value.items():
            _set(target.value, [name], value)
    else:
        table[key] = item


def _settings(version: Version) -> Struct:
    """All but the provisioning section."""
    uris: dict[str, Shape] = {"workload_uri": _URI, "management_uri": _URI}
    numbers = version.numbers
    listen = Struct({**uris, **({"min_tls_version": Opt(_Tls())} if numbers >= (1, 0, 10) else {})})
    strings = ("username", "password", "email", "serveraddress")
    docker = Struct(
        {
            "image": Str(),
            "imageHash": Opt(Str()),
            "createOptions": _CreateOptions(),
            "auth": Opt(Struct({name: Opt(Str()) for name in strings})),
        },
        defaults={"createOptions": {}},
    )
    agent: dict[str, Shape] = {"name": Str(), "type": Str(), "config": docker, "env": MapOf(Opt(Str()))}
    if numbers >= (1, 0, 9):
        agent["imagePullPolicy"] = Str(("on-create", "never"))
    ipam = Struct({"config": Opt(ListOf(Struct({n: Opt(Str()) for n in ("gateway", "subnet", "ip_range")})))})
    network = Struct({"name": Str(), "ipv6": Opt(Bool()), "ipam": Opt(ipam)})
    fields: dict[str, Shape] = {
        "agent": Struct(agent, defaults={"env": {}, "imagePullPolicy": "on-create"}),
        "hostname": Str(),
        "connect": Struct(uris),
        "listen": listen,
        "homedir": Str(),
        "moby_runtime": Struct({"uri": _URI, "network": _Network(network) if numbers >= (1, 0, 9) else Str()}),
        "certificates": Opt(_Certificates(lifetime=numbers >= (1, 0, 9))),
    }
    if numbers >= (1, 0, 8):
        fields["watchdog"] = Struct({"max_retries": Int(2**32 - 1, infinite=True)}, defaults={"max_retries": None})
    if numbers >= (1, 1, 7):
        fields["allow_elevated_docker_permissions"] = Opt(Bool())
    return Struct(fields, defaults={"watchdog": {"max_retries": None}})


class _CreateOptions:
    """Docker's own object. Its many fields are not looked into."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        return MapOf(Anything()).read(item, path, problems)


class _Tls:
    def read(self, item: Item, path: str, problems: Problems) -> Any:
        said = Str().read(item, path, problems)
        return None if said is None else Str(_TLS).read(Item(said.lower(), item.line), path, problems)


class _Network:
    """A name, or a mapping with one."""

    def __init__(self, mapping: Shape) -> None:
        self._mapping = mapping

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        shape = self._mapping if isinstance(item.value, dict) else Str()
        return shape.read(item, path, problems)


class _Certificates:
    """If one of the three is missing or is no string, the daemon counts all three as absent, without an error."""

    def __init__(self, *, lifetime: bool) -> None:
        self._lifetime = lifetime

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        days = Struct({"auto_generated_ca_lifetime_days": Int(2**16 - 1)}, {"auto_generated_ca_lifetime_days": 90})
        said = (days if self._lifetime else Struct({})).read(item, path, problems)
        if said is None:
            return None
        three = [
            item.value.get(name, Item(None)).value for name in ("device_ca_cert", "device_ca_pk", "trusted_ca_certs")
        ]
        return {**said, "device": three if all(isinstance(value, str) for value in three) else None}


def _provisioning(item: Item, version: Version, problems: Problems) -> Any:
    numbers = version.numbers
    variants: dict[str, Shape] = {"manual": Struct({}), "dps": _dps(version)}
    if numbers >= (1, 0, 9):
        variants["external"] = Struct({"endpoint": _URI})
    said = Tagged("source", variants).read(item, "provisioning", problems)
    if said is None:
        return None
    if said["source"] == "manual":
        said["authentication"] = _manual(item, version, problems)
    if said["source"] == "dps" and numbers >= (1, 0, 7):
        said["attestation"] = _attestation(item, problems)
    if numbers >= (1, 0, 10):
        default = {"dynamic_reprovisioning": False}
        said |= Struct({"dynamic_reprovisioning": Bool()}, default).read(item, "provisioning", problems)
    return said


def _manual(item: Item, version: Version, problems: Problems) -> Any:
    flat = Struct({"device_connection_string": Str()})
    if version.numbers < (1, 0, 10):
        said = flat.read(item, "provisioning", problems)
    else:
        certificate: dict[str, Shape] = {
            "iothub_hostname": Str(),
            "device_id": Str(),
            "identity_cert": _FILE,
            "identity_pk": _FILE,
        }
        either = Tagged("method", {"device_connection_string": flat, "x509": Struct(certificate)})
        fields: dict[str, Shape] = {"device_connection_string": Opt(Str()), "authentication": Opt(either)}
        both = Struct(fields).read(item, "provisioning", problems)
        one, other = both["device_connection_string"], both["authentication"]
        given = [n for n in fields if item.value.get(n, Item(None)).value is not None]
        if len(given) != 1:
            which = "One" if not given else "Only one"
            message = f"{which} of provisioning.device_connection_string or provisioning.authentication must be set."
            complain(problems, item.line, "provisioning", message)
            return None
        said = {"method": "device_connection_string", "device_connection_string": one} if one is not None else other
    if said and said.get("device_connection_string") is not None:
        _connection_string(said["device_connection_string"], item, problems)
    return said


def _connection_string(text: str, item: Item, problems: Problems) -> None:
    flat = item.value.get("device_connection_string") or item.value["authentication"].value["device_connection_string"]
    try:
        parse_connection_string(text)
    except ConnectionStringError as exc:
        complain(problems, flat.line, f"connection-string-{exc.rule}", str(exc))


def _dps(version: Version) -> Shape:
    fields: dict[str, Shape] = {"global_endpoint": _URI, "scope_id": Str()}
    fields["registration_id"] = Str() if version.numbers < (1, 0, 7) else Opt(Str())
    if version.numbers >= (1, 0, 10):
        fields["always_reprovision_on_startup"] = Opt(Bool())
    return Struct(fields)


def _attestation(item: Item, problems: Problems) -> Any:
    tpm = Struct({"registration_id": Str()})
    symmetric = Struct({"registration_id": Str(), "symmetric_key": Str()})
    certificate = Struct({"registration_id": Opt(Str()), "identity_cert": _FILE, "identity_pk": _FILE})
    methods = Tagged("method", {"tpm": tpm, "symmetric_key": symmetric, "x509": certificate})
    given = item.value.get("attestation", Item(None))
    outside = item.value.get("registration_id", Item(None))
    if given.value is not None and outside.value is not None:
        message = "provisioning.registration_id has to be set only in attestation. Remove it here."
        complain(problems, outside.line, "provisioning", message)
        return None
    if given.value is not None:
        return methods.read(given, "provisioning.attestation", problems)
    if outside.value is None:
        complain(problems, item.line, "provisioning", "provisioning.registration_id has to be set.")
    return {"method": "tpm", "registration_id": outside.value}


def _summary(said: Any) -> Settings:
    provisioning, agent = said["provisioning"], said["agent"]
    inner = provisioning.get("authentication") or provisioning.get("attestation") or {}
    source = ".".join(filter(None, [provisioning["source"], inner.get("method", "")]))
    if source == "manual":
        source = "manual.device_connection_string"
    text = json.dumps(said, sort_keys=True, ensure_ascii=True)
    return Settings(
        source=source,
        connection_string=inner.get("device_connection_string") or "",
        hostname=said["hostname"],
        agent_image=agent["config"]["image"],
        agent_env={key: value or "" for key, value in agent["env"].items()},
        meaning=hashlib.sha256(text.encode()).hexdigest(),
        x509=_x509(inner) if source == "manual.x509" else None,
    )


def _x509(said: Any) -> X509:
    return X509(**{name: said[name] for name in ("iothub_hostname", "device_id", "identity_cert", "identity_pk")})


def problem_of_duplicates(root: Node) -> list[Problem]:
    """Keys that are there twice: the daemon silently takes the last one."""
    found: list[Problem] = []
    if isinstance(root, MapNode):
        seen: dict[object, int] = {}
        for key, value in root.entries:
            if isinstance(key, ScalarNode):
                if key.value in seen:
                    message = (
                        f"{shown_key(key.text)} is there already on line {seen[key.value]}. The daemon silently takes the last "
                        "one. Remove one of them."
                    )
                    found.append(Problem(line=key.line, severity="warning", rule="duplicate-key", message=message))
                seen[key.value] = key.line
            found += problem_of_duplicates(value)
    elif isinstance(root, ListNode):
        for inner in root.items:
            found += problem_of_duplicates(inner)
    return found
