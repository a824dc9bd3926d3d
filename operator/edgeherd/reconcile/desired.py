"""What a device shall look like, from the spec and its Secrets: the daemon's file, and the files beside it. Pure."""

import base64
import dataclasses
import json
import urllib.parse
from collections.abc import Mapping

from edgeherd import config
from edgeherd.device.port import ABSENT, OtherFile, Owner, Query
from edgeherd.errors import Stalled
from edgeherd.model import EdgeDevice, Secret
from edgeherd.reconcile import secret_use
from edgeherd.reconcile.credentials import Certificate

_FOLDERS = {config.Dialect.YAML: "/etc/iotedge/edgeherd", config.Dialect.TOML: "/etc/aziot/edgeherd"}
"""Where a certificate from a Secret is placed, unless the spec says where."""

UNITS = {
    config.Dialect.YAML: ("iotedge.service",),
    config.Dialect.TOML: ("aziot-edged.service", "aziot-identityd.service"),
}
"""The services that talk to the hub; the first one is the daemon."""

PROXY_LOGIN = "/etc/edgeherd/proxy.env"
"""A proxy's URL with its login. Only root can read it; `systemctl show` prints a unit's Environment to everybody."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """All that the device shall have, whatever its runtime turns out to be."""

    device: EdgeDevice
    host_name: str
    connection_string: str = dataclasses.field(repr=False)
    certificate: Certificate | None = None
    registry: config.RegistryAuth | None = dataclasses.field(repr=False, default=None)
    proxy: str | None = dataclasses.field(repr=False, default=None)
    """The proxy's URL, with its login."""


def daemon_unit(device: EdgeDevice, dialect: config.Dialect) -> str:
    """What the device's own manager of services calls the daemon."""
    return "iotedge" if device.runtime.on_windows else UNITS[dialect][0]


def _drop_in(unit: str) -> str:
    return f"/etc/systemd/system/{unit}.d/50-edgeherd-proxy.conf"


_DROP_INS = tuple(_drop_in(unit) for units in UNITS.values() for unit in units)


def queried_files(device: EdgeDevice) -> tuple[str, ...]:
    """The files beside the daemon's that may be ours, whatever the runtime is."""
    if device.runtime.on_windows:
        return ()
    certificates = [path for dialect in config.Dialect for path in certificate_paths(device, dialect)]
    return tuple(dict.fromkeys([*_DROP_INS, PROXY_LOGIN, *(certificates if device.x509 is not None else [])]))


def query(device: EdgeDevice) -> Query:
    """What is looked at on the device."""
    return Query(path=device.runtime.config_path or "", others=queried_files(device))


def certificate_paths(device: EdgeDevice, dialect: config.Dialect) -> tuple[str, str]:
    """Where the certificate and the private key of an X.509 device are."""
    x509 = device.x509
    if x509 is None or x509.certificate_path is None or x509.private_key_path is None:
        return f"{_FOLDERS[dialect]}/identity.pem", f"{_FOLDERS[dialect]}/identity.key.pem"
    return x509.certificate_path, x509.private_key_path


def configuration(state: DesiredState, dialect: config.Dialect, *, proxy_was_ours: bool) -> config.Wanted:
    """What the daemon's file shall say. A proxy that we had put there and that the spec has no more is taken out."""
    device, runtime = state.device, state.device.runtime
    env: dict[str, str | None] = dict(runtime.agent_env)
    if runtime.upstream_protocol is not None:
        env["UpstreamProtocol"] = runtime.upstream_protocol
    if state.proxy is not None:
        env["https_proxy"] = state.proxy
    elif proxy_was_ours and "https_proxy" not in env:
        env["https_proxy"] = None
    x509 = None
    if device.x509 is not None:
        certificate, private_key = certificate_paths(device, dialect)
        x509 = config.X509(
            iothub_hostname=state.host_name,
            device_id=device.device_id,
            identity_cert=f"file://{certificate}",
            identity_pk=f"file://{private_key}",
        )
    return config.Wanted(
        connection_string=state.connection_string if x509 is None else None,
        x509=x509,
        dynamic_reprovisioning=runtime.dynamic_reprovisioning,
        hostname=runtime.hostname,
        agent_image=runtime.agent_image,
        agent_auth=state.registry,
        agent_env=env,
    )


def proxy_was_ours(found: Mapping[str, str]) -> bool:
    """Whether a drop-in of ours is there; `found` are the hashes of files by path."""
    return any(found.get(path, ABSENT) != ABSENT for path in _DROP_INS)


def other_files(state: DesiredState, dialect: config.Dialect, found: Mapping[str, str]) -> tuple[OtherFile, ...]:
    """The files beside the daemon's that must change; `found` are the hashes of files by path."""
    wishes = [*_proxy_files(state, dialect, found), *_certificate_files(state, dialect, found)]
    return tuple(wish for wish in wishes if wish.before != wish.after)


def leftovers(device: EdgeDevice, found: Mapping[str, str]) -> tuple[OtherFile, ...]:
    """The files that we put beside the daemon's, to be removed from a device that is let go.

    Those of the other dialect too: the runtime may have been updated since.
    """
    placed = device.x509 is not None and device.x509.secret_name is not None
    certificates = [path for dialect in config.Dialect for path in certificate_paths(device, dialect)]
    ours = dict.fromkeys([*_DROP_INS, PROXY_LOGIN, *(certificates if placed else ())])
    there = [path for path in ours if found.get(path, ABSENT) != ABSENT]
    return tuple(_other(path, None, found, Owner.ROOT, "600") for path in there)


def _proxy_files(state: DesiredState, dialect: config.Dialect, found: Mapping[str, str]) -> list[OtherFile]:
    if state.device.runtime.on_windows:
        return []
    has_login = state.device.runtime.proxy_secret_name is not None
    login = f"https_proxy={state.proxy}\n" if state.proxy is not None and has_login else None
    drop_in = None
    if state.proxy is not None:
        # A percent sign is the beginning of a specifier to systemd.
        plain = f'Environment="https_proxy={state.proxy.replace("%", "%%")}"'
        drop_in = f"# Written by edgeherd.\n[Service]\n{f'EnvironmentFile={PROXY_LOGIN}' if has_login else plain}\n"
    ours = {_drop_in(unit) for unit in UNITS[dialect]}
    return [
        _other(PROXY_LOGIN, login, found, Owner.ROOT, "600"),
        *(_other(path, drop_in if path in ours else None, found, Owner.ROOT, "644") for path in _DROP_INS),
    ]


def _certificate_files(state: DesiredState, dialect: config.Dialect, found: Mapping[str, str]) -> list[OtherFile]:
    if state.certificate is None:
        return []
    public, private = certificate_paths(state.device, dialect)
    owners = (
        (Owner.DAEMON, Owner.DAEMON)
        if dialect is config.Dialect.YAML
        else (Owner.CERTIFICATE_SERVICE, Owner.KEY_SERVICE)
    )
    return [
        _other(public, state.certificate.certificate, found, owners[0], "400"),
        _other(private, state.certificate.private_key, found, owners[1], "400"),
    ]


def _other(path: str, content: str | bytes | None, found: Mapping[str, str], owner: Owner, mode: str) -> OtherFile:
    data = content.encode() if isinstance(content, str) else content
    return OtherFile(path=path, before=found.get(path, ABSENT), content=data, owner=owner, mode=mode)


def proxy_url(device: EdgeDevice, secret: Secret | None) -> str | None:
    """The proxy's URL, with the login from its Secret.

    Raises:
        Stalled: the Secret has no user name or password.
    """
    url = device.runtime.https_proxy
    if url is None or secret is None:
        return url
    username, password = (secret_use.line(secret, key) for key in ("username", "password"))
    if not username or not password:
        message = (
            f"Secret '{secret.name}' (spec.runtime.proxy.credentialsSecretRef) needs 'username' and 'password'. Fix it."
        )
        raise Stalled("ProxySecretInvalid", message)
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{urllib.parse.quote(username, safe='')}:{urllib.parse.quote(password, safe='')}@{rest}"


def registry_auth(device: EdgeDevice, secret: Secret) -> config.RegistryAuth:
    """The login for the registry of edgeAgent's image, from a Secret of type kubernetes.io/dockerconfigjson.

    Raises:
        Stalled: the Secret has no login for that registry.
    """
    where = f"Secret '{secret.name}' (spec.runtime.agent.registryAuthSecretRef)"
    try:
        found = json.loads(secret.data.get(".dockerconfigjson", b""))["auths"]
        auths = {_server(key): value for key, value in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = f"{where} has no usable '.dockerconfigjson'. Create it with 'kubectl create secret docker-registry'."
        raise Stalled("RegistrySecretInvalid", message) from None
    image = device.runtime.agent_image
    server = _registry_of(image) if image else next(iter(auths)) if len(auths) == 1 else ""
    if server not in auths:
        of = f"'{server}'" if server else "one registry alone, and spec.runtime.agent.image does not say which"
        raise Stalled("RegistrySecretInvalid", f"{where} has no login for {of}. Add it.")
    username, password = _login(auths[server])
    if not username or not password:
        message = (
            f"{where} has no user name and password for '{server}'. A token of another kind cannot be used by a device."
        )
        raise Stalled("RegistrySecretInvalid", message)
    return config.RegistryAuth(server_address=server, username=username, password=password)


_DOCKER_HUB = "docker.io"


def _server(key: str) -> str:
    """The registry that a key of `auths` names, which may be a URL."""
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0].lower()
    return _DOCKER_HUB if host in {"index.docker.io", "registry-1.docker.io", "docker.io"} else host


def _registry_of(image: str) -> str:
    """Docker's own rule: the first part is a registry if it has a dot or a colon, or is 'localhost'."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return _server(first)
    return _DOCKER_HUB


def _login(entry: object) -> tuple[str, str]:
    """User name and password, as Docker and Kubernetes read them; empty where there are none that can be used."""
    if not isinstance(entry, dict):
        return "", ""
    username, password = entry.get("username", ""), entry.get("password", "")
    if not (username and password) and isinstance(entry.get("auth"), str):
        encoded = "".join(entry["auth"].split()).rstrip("=")
        try:
            text = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode()
        except ValueError:
            return "", ""
        username, _, password = text.rstrip("\r\n\0").partition(":")
    if not isinstance(username, str) or not isinstance(password, str):
        return "", ""
    # JSON may hold half a character, which no file of a device can.
    fits = all(not "\ud800" <= character <= "\udfff" for character in username + password)
    return (username, password) if fits else ("", "")
