"""Which Secrets a manifest may use for what."""

import dataclasses
import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from memory_lab import SSH, Lab

from edgeherd.errors import Stalled
from edgeherd.model import Secret
from edgeherd.reconcile import secret_use
from edgeherd.reconcile.secret_use import CERTIFICATE, DEVICE_LOGIN, JUMP_HOST_LOGIN, PROXY_LOGIN, REGISTRY_LOGIN, Use

SSH_AUTH, BASIC_AUTH, TLS = "kubernetes.io/ssh-auth", "kubernetes.io/basic-auth", "kubernetes.io/tls"
DOCKER = "kubernetes.io/dockerconfigjson"
CONNECTION = "edgeherd.io/device-connection"
TYPES = ("Opaque", SSH_AUTH, BASIC_AUTH, TLS, DOCKER, CONNECTION, "kubernetes.io/service-account-token", "")
LABEL = "edgeherd.io/allow-use"


def secret(type_: str, labels: dict[str, str] | None = None, **data: bytes) -> Secret:
    """A Secret of a type."""
    return Secret(
        namespace="plant-a",
        name="theirs",
        type=type_,
        data=data,
        labels=labels or {},
        annotations={},
        owner_uids=(),
        resource_version="1",
    )


def is_used(found: Secret, use: Use) -> bool:
    """Whether it may be used."""
    try:
        secret_use.require(found, use)
    except Stalled:
        return False
    return True


@pytest.mark.parametrize(
    ("use", "types"),
    [
        pytest.param(DEVICE_LOGIN, {SSH_AUTH, BASIC_AUTH}, id="a login of a device, by key or by password"),
        pytest.param(JUMP_HOST_LOGIN, {SSH_AUTH, BASIC_AUTH}, id="a login of a jump host"),
        pytest.param(CERTIFICATE, {TLS}, id="a certificate with its key"),
        pytest.param(PROXY_LOGIN, {BASIC_AUTH}, id="a login of a proxy"),
        pytest.param(REGISTRY_LOGIN, {DOCKER}, id="a login of a registry"),
    ],
)
def test_the_type_says_what_a_secret_is_for(use: Use, types: set[str]) -> None:
    """Any other needs the label; with another value of it no type helps."""
    assert {type_ for type_ in TYPES if is_used(secret(type_), use)} == types
    assert all(is_used(secret(type_, {LABEL: "true"}), use) for type_ in TYPES)
    for value in ("false", "", "True", "yes"):
        assert not any(is_used(secret(type_, {LABEL: value}), use) for type_ in TYPES)


@pytest.mark.parametrize(
    ("use", "found", "reason", "message"),
    [
        pytest.param(
            JUMP_HOST_LOGIN,
            secret("Opaque"),
            "SshSecretInvalid",
            (
                "Secret 'theirs' (spec.ssh.jumpHost.credentialsSecretRef) is not of type 'kubernetes.io/ssh-auth' or "
                "'kubernetes.io/basic-auth', so it is not used. If it is meant for this, run 'kubectl -n plant-a label "
                "secret theirs edgeherd.io/allow-use=true --overwrite'."
            ),
            id="another type",
        ),
        pytest.param(
            CERTIFICATE,
            secret(TLS, {LABEL: "no"}),
            "CertificateSecretInvalid",
            (
                "Secret 'theirs' (spec.identity.x509.certificateSecretRef) has the label 'edgeherd.io/allow-use' with "
                "another value than 'true', so it is not used. If it is meant for this, run 'kubectl -n plant-a label "
                "secret theirs edgeherd.io/allow-use=true --overwrite'."
            ),
            id="somebody said no",
        ),
    ],
)
def test_a_refusal_says_what_to_do(use: Use, found: Secret, reason: str, message: str) -> None:
    """By whoever may write Secrets. The type that it has is not told."""
    with pytest.raises(Stalled) as caught:
        secret_use.require(found, use)
    assert (caught.value.reason, caught.value.message) == (reason, message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theft:
    """A manifest that names somebody else's Secret, and what must not travel."""

    sentence: str
    spec: dict[str, Any]
    data: dict[str, bytes]
    type_: str = "Opaque"
    shows: str
    """The condition that says so, and its reason."""


def certificate() -> bytes:
    """One that can be registered."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


_X509 = {"authentication": "SelfSignedX509", "x509": {"certificateSecretRef": {"name": "theirs"}}}
_REF = {"credentialsSecretRef": {"name": "theirs"}}
THEFTS = (
    Theft(
        sentence="an Opaque Secret's password, to the tenant's own server",
        spec={"ssh": {**SSH, **_REF}},
        data={"password": b"hush"},
        shows="Reachable SshSecretInvalid",
    ),
    Theft(
        sentence="or to the tenant's own jump host",
        spec={"ssh": {**SSH, "jumpHost": {"host": "j", "user": "u", "hostKeys": ["ssh-ed25519 A"], **_REF}}},
        data={"password": b"hush"},
        shows="Reachable SshSecretInvalid",
    ),
    Theft(
        sentence="the password beside another EdgeDevice's connection strings",
        spec={"ssh": {**SSH, **_REF}},
        data={"password": b"hush", "primaryKey": b"hush"},
        type_=CONNECTION,
        shows="Reachable SshSecretInvalid",
    ),
    Theft(
        sentence="a private key, to be placed on the tenant's own server",
        spec={"identity": _X509},
        data={"tls.crt": certificate(), "tls.key": b"hush"},
        shows="IdentityReady CertificateSecretInvalid",
    ),
    Theft(
        sentence="a password, as the proxy's",
        spec={"runtime": {"proxy": {"httpsProxy": "http://mine:3128", **_REF}}},
        data={"username": b"u", "password": b"hush"},
        shows="ConfigApplied ProxySecretInvalid",
    ),
    Theft(
        sentence="a registry's login that was stored for something else",
        spec={"runtime": {"agent": {"image": "r.io/a:1", "registryAuthSecretRef": {"name": "theirs"}}}},
        data={".dockerconfigjson": b'{"auths":{"r.io":{"username":"u","password":"hush"}}}'},
        shows="ConfigApplied RegistrySecretInvalid",
    ),
)


@pytest.mark.parametrize("theft", THEFTS, ids=lambda theft: theft.sentence)
async def test_writing_an_edge_device_is_not_reading_secrets(theft: Theft) -> None:
    """Nobody is connected with it, nothing of it is on the device, and nothing of it is said."""
    lab = Lab(**theft.spec)
    lab.cluster.put_secret("plant-a", "theirs", theft.data, type_=theft.type_)
    await lab.reconcile()
    type_, _, reason = theft.shows.partition(" ")
    assert (lab.told[type_], lab.told["Stalled"]) == (f"False {reason}", f"True {reason}")
    assert ("connect h" in lab.steps.taken) == (type_ == "ConfigApplied")
    assert lab.memory.changes == []
    assert b"hush" not in b"".join(lab.memory.files.values())
    assert "hush" not in str(lab.device.status) + str(lab.cluster.events)


@pytest.mark.parametrize("theft", THEFTS, ids=lambda theft: theft.sentence)
async def test_the_label_opts_in(theft: Theft) -> None:
    """For a Secret of any type; whoever made the manifest is heard then."""
    lab = Lab(**theft.spec)
    lab.cluster.put_secret("plant-a", "theirs", theft.data, type_=theft.type_, labels={LABEL: "true"})
    await lab.until_ready()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"pw", b"pw"),
        (b"pw\n", b"pw"),
        (b"pw\r\n", b"pw"),
        (b"pw\n\n", b"pw\n"),
        (b"pw\r", b"pw\r"),
        (b"pw \n", b"pw "),
        (b"\n", b""),
        (b"", b""),
    ],
    ids=repr,
)
def test_one_line_break_at_the_end_is_the_files(value: bytes, expected: bytes) -> None:
    """`kubectl create secret --from-file` takes it along; everything else belongs to the value."""
    assert secret_use.line(secret("Opaque", key=value), "key") == expected
    assert secret_use.line(secret("Opaque"), "key") == b""
