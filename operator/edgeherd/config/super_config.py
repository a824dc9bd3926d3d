"""The whole of config.toml, the "super config", as each version from 1.2.0 to 1.6 has it.

Sources: iotedge/src/config/super_config.rs, edgelet-settings/src and docker-rs/src/models (Azure/iotedge),
aziotctl-common/src/config/super_config.rs and the services' own settings (Azure/iot-identity-service), each at its tag. Where
a version does not know a key yet it ignores it, and so it is left out here. What serde swallows is left out too: a wrong
subject of a certificate, or a wrong login of an EST server, counts as none.
"""

import functools
import math
from typing import Any

from edgeherd.config import urls
from edgeherd.config.daemon_values import CString, Duration, KeyPlace, RenewalPolicy, TimeOfDay
from edgeherd.config.shapes import (
    AnyOf,
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
    leave_unjudged,
)
from edgeherd.config.values import Version

_U32, _I64 = 2**32 - 1, 2**63 - 1
_DEFAULT_MODE = "Dynamic"
_SHORTEST_TIMEOUT = 70
_EST_LOGINS = (
    "username",
    "password",
    "identity_cert",
    "identity_pk",
    "bootstrap_identity_cert",
    "bootstrap_identity_pk",
)
_LARGEST_AUTH_KEY_INDEX = 0x7F_FF_FF


@functools.lru_cache(maxsize=16)
def super_config(version: Version) -> Shape:
    """All but the provisioning section, which `super_provisioning` has."""
    numbers = version.numbers
    fields: dict[str, Shape] = {
        "hostname": Opt(Str()),
        "parent_hostname": Opt(Str()),
        "local_gateway_hostname": Opt(Str()),
        "trust_bundle_cert": Opt(Url()),
        "auto_reprovisioning_mode": Str(("Dynamic", "AlwaysOnStartup", "OnErrorOnly")),
        "imported_master_encryption_key": Opt(_FileOnDevice()),
        "localid": Opt(Struct({"domain": Str()})),
        "aziot_keys": Opt(MapOf(Str())),
        "preloaded_keys": Opt(MapOf(KeyPlace())),
        "preloaded_certs": Opt(MapOf(_PreloadedCert())),
        "cert_issuance": Opt(Struct({"est": Opt(_est(version)), "local_ca": Opt(_LocalCa(version))})),
        "agent": Opt(_agent(version)),
        "connect": Opt(Struct(_uris())),
        "listen": Opt(Struct({**_uris(), **({"min_tls_version": Opt(_Tls())} if numbers < (1, 5) else {})})),
        "watchdog": Opt(Struct({"max_retries": _MaxRetries()}, defaults={"max_retries": "infinite"})),
        "edge_ca": Opt(_edge_ca(version)),
        "moby_runtime": Opt(_moby_runtime()),
    }
    if numbers >= (1, 2, 2):
        fields["cloud_timeout_sec"] = Opt(Int(_I64, least=_SHORTEST_TIMEOUT))
        fields["cloud_retries"] = Opt(Int(_U32))
    if numbers >= (1, 2, 4):
        fields["allow_elevated_docker_permissions"] = Opt(Bool())
    if numbers >= (1, 2, 9):
        fields["additional_info"] = Opt(_FileOnDevice(url=True))
    if numbers >= (1, 4):
        fields["aziot_max_requests"] = Opt(Struct({n: Int(_I64) for n in ("keyd", "certd", "tpmd", "identityd")}))
        fields["iotedge_max_requests"] = Opt(Struct({n: Int(_I64) for n in ("management", "workload")}))
        fields["tpm"] = Opt(_tpm())
        fields["image_garbage_collection"] = Opt(_image_garbage_collection(version))
    if numbers >= (1, 4, 20):
        fields["prefer_module_identity_cache"] = Opt(Bool())
    return _OneParent(Struct(fields, defaults={"auto_reprovisioning_mode": _DEFAULT_MODE}))


class _OneParent:
    """`local_gateway_hostname` is another name of `parent_hostname`: both are one key twice."""

    def __init__(self, root: Struct) -> None:
        self._root = root

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        said = self._root.read(item, path, problems)
        alias = item.value.get("local_gateway_hostname")
        if alias is not None and "parent_hostname" in item.value:
            message = (
                "local_gateway_hostname is another name of parent_hostname, which is there too. Remove one of them."
            )
            complain(problems, alias.line, "duplicate-key", message)
        other = said.pop("local_gateway_hostname")
        said["parent_hostname"] = said["parent_hostname"] or other
        return said


class _FileOnDevice:
    """A file that `config apply` reads from the device: what is in it cannot be judged from here."""

    def __init__(self, *, url: bool = False) -> None:
        self._url = url

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        said = Str().read(item, path, problems)
        if said is None:
            return None
        if self._url and not urls.is_file(said):
            return complain(problems, item.line, "uri", f"{path} must be a file on the device: file:///path.")
        leave_unjudged(problems, item.line, f"{path} names a file on the device, which has to be there and in order.")
        return said


class _PreloadedCert:
    """Where a certificate is, or the names of others."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        shape: Shape = ListOf(Str()) if isinstance(item.value, list) else Url()
        return shape.read(item, path, problems)


class _MaxRetries:
    """A number, or the word `infinite` in any case."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        if isinstance(item.value, str):
            return Str(("infinite",)).read(Item(item.value.lower(), item.line), path, problems)
        return Int(_U32).read(item, path, problems)


class _Tls:
    """The oldest TLS that the daemon speaks; up to 1.4."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        said = Str().read(item, path, problems)
        words = [f"{name}{number}" for name in ("tls", "tlsv") for number in ("10", "11", "12")]
        words += ["tls", "tls1", *(f"tls1{mark}{minor}" for mark in "._" for minor in "012")]
        return None if said is None else Str(tuple(words)).read(Item(said.lower(), item.line), path, problems)


class _Json:
    """A value that goes through JSON, which knows neither not-a-number nor infinity."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        match item.value:
            case dict():
                return {key: self.read(inner, path, problems) for key, inner in item.value.items()}
            case list():
                return [self.read(inner, path, problems) for inner in item.value]
            case float() if not math.isfinite(item.value):
                return complain(problems, item.line, "value", f"{path} must be a number that is finite.")
            case _:
                return item.value


def _uris() -> dict[str, Shape]:
    return {"workload_uri": Url(), "management_uri": Url()}


def _docker(fields: dict[str, Shape]) -> Struct:
    """An object of Docker's API: some fields have a type, all others are passed on."""
    return Struct({name: Opt(shape) for name, shape in fields.items()}, others=_Json())


def _create_options() -> Shape:
    texts = ListOf(Str())
    mount = _docker({"Target": Str(), "Source": Str(), "Type": Str(), "ReadOnly": Bool()})
    host: dict[str, Shape] = {
        "Memory": Int(_I64, least=-(2**63)),
        "Binds": texts,
        "PortBindings": MapOf(ListOf(_docker({"HostPort": Str()}))),
        "Mounts": ListOf(mount),
        "CapAdd": texts,
        "CapDrop": texts,
        "ExtraHosts": texts,
        "Privileged": Bool(),
    }
    return _docker(
        {
            "Hostname": Str(),
            "Env": texts,
            "Cmd": texts,
            "Image": Str(),
            "Volumes": MapOf(_Json()),
            "Entrypoint": texts,
            "Labels": MapOf(Str()),
            "HostConfig": _docker(host),
            "NetworkingConfig": _docker({"EndpointsConfig": MapOf(_docker({"NetworkID": Str()}))}),
        }
    )


def _agent(version: Version) -> Shape:
    auth = {name: Opt(Str()) for name in ("username", "password", "email", "serveraddress")}
    config: dict[str, Shape] = {
        "image": Str(),
        "imageHash": Opt(Str()),
        "createOptions": _create_options(),
        "digest": Opt(Str()),
        "auth": Opt(Struct(auth, others=_Json() if version.numbers >= (1, 6) else None)),
    }
    if version.numbers >= (1, 3):
        config["allowElevatedDockerPermissions"] = Opt(Bool())
    return Struct(
        {
            "name": Str(),
            "type": Str(),
            "imagePullPolicy": Str(("on-create", "never")),
            "config": Struct(config, defaults={"createOptions": {}}),
            "env": MapOf(Str()),
        },
        defaults={"imagePullPolicy": "on-create", "env": {}},
        hints={
            "name": 'Add name = "edgeAgent" below a line [agent].',
            "type": 'Add type = "docker" below a line [agent].',
            "config": "Add [agent.config] with the agent's image.",
        },
    )


def _moby_runtime() -> Shape:
    trust = Struct({"ca_certs": Opt(MapOf(Url()))})
    return Struct({"uri": Url(), "network": _Network(), "content_trust": Opt(trust)})


class _Network:
    """A name, or a table with one."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        ipam = Struct({"config": Opt(ListOf(Struct({n: Opt(Str()) for n in ("gateway", "subnet", "ip_range")})))})
        table = Struct({"name": Str(), "ipv6": Opt(Bool()), "ipam": Opt(ipam)})
        shape: Shape = table if isinstance(item.value, dict) else Str()
        return shape.read(item, path, problems)


def _image_garbage_collection(version: Version) -> Shape:
    fields: dict[str, Shape] = {
        "cleanup_recurrence": Duration(version, days=True),
        "image_age_cleanup_threshold": Duration(version),
        "cleanup_time": TimeOfDay(),
        "enabled": Bool(),
    }
    return Struct({name: Opt(shape) for name, shape in fields.items()})


def _tpm() -> Shape:
    login = Struct({"endorsement": Opt(CString()), "owner": Opt(CString())})
    index = Int(_LARGEST_AUTH_KEY_INDEX)
    return Struct({"tcti": Opt(CString()), "auth_key_index": Opt(index), "hierarchy_authorization": Opt(login)})


def _auto_renew() -> Shape:
    return Struct({"rotate_key": Bool(), "threshold": RenewalPolicy(), "retry": RenewalPolicy()})


def issued(version: Version) -> Shape:
    """A certificate that somebody issues: an EST server, an authority on the device, or the device itself."""
    fields: dict[str, Shape] = {"expiry_days": Opt(Int(_U32, least=1)), "subject": Opt(Anything())}
    fields["common_name"] = Opt(Anything())
    if version.numbers >= (1, 3):
        fields["auto_renew"] = Opt(_auto_renew())
    est = {**fields, "url": Opt(Url()), **{name: Opt(Anything()) for name in _EST_LOGINS}}
    return Tagged("method", {"est": Struct(est), "local_ca": Struct(fields), "self_signed": Struct(fields)})


def _est(version: Version) -> Shape:
    auth = Struct({}, others=Anything())
    if version.numbers < (1, 3):
        return Struct({"trusted_certs": Opt(ListOf(Url())), "auth": auth, "urls": MapOf(Url())})
    return Struct(
        {
            "trusted_certs": Opt(ListOf(Url())),
            "identity_auto_renew": Opt(_auto_renew()),
            "auth": Opt(auth),
            "urls": Opt(MapOf(Url())),
        }
    )


class _LocalCa:
    """An authority whose certificate is issued, or whose certificate and key are there."""

    def __init__(self, version: Version) -> None:
        self._issued = Struct({"cert": issued(version)})

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        certificate = item.value.get("cert") if isinstance(item.value, dict) else None
        is_issued = certificate is not None and isinstance(certificate.value, dict)
        shape: Shape = self._issued if is_issued else Struct({"cert": Url(), "pk": KeyPlace()})
        return shape.read(item, path, problems)


def _edge_ca(version: Version) -> Shape:
    """Issued, from files, or made by the daemon itself."""
    quick: dict[str, Shape] = {"auto_generated_edge_ca_expiry_days": Int(_U32)}
    if version.numbers >= (1, 3):
        quick |= {"auto_renew": Opt(_auto_renew()), "common_name": Opt(Anything()), "subject": Opt(Anything())}
    forms: list[tuple[str, Shape]] = [
        ("cert", Struct({"cert": Url(), "pk": Url()})),
        ("auto_generated_edge_ca_expiry_days", Struct(quick)),
    ]
    if version.numbers >= (1, 2, 4):
        forms.insert(0, ("method", issued(version)))
    return AnyOf(tuple(forms))
