"""What is beside the daemon's file: the proxy of its units, certificates, and logins inside of the file."""

import datetime as dt
import functools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from driver import ID, READY, Operator, docker_config, picture, starts, temporary
from subject import Subject, folder, is_toml, settings, units

from edgeherd.model import Thumbprints
from edgeherd.reconcile import credentials

PROXY = "http://proxy.example.net:3128"
PASSWORD = "p@ss %word"
QUOTED = "p%40ss%20%25word"
LOGIN_FILE = "/etc/edgeherd/proxy.env"


def drop_in(unit: str) -> str:
    """Where the unit's proxy is."""
    return f"/etc/systemd/system/{unit}.d/50-edgeherd-proxy.conf"


@functools.cache
def certificate() -> dict[str, bytes]:
    """A Secret of the type kubernetes.io/tls: of a device, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "press-01")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = (
        builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1)).sign(key, SHA256())
    )
    return {
        "tls.crt": made.public_bytes(Encoding.PEM),
        "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


async def test_a_proxy_reaches_the_processes_and_leaves_them(subject: Subject, operator: Operator) -> None:
    """By a drop-in that systemd has read and a start with it: one with the proxy, and one without."""
    before = await picture(subject)
    operator.wants(runtime={"proxy": {"httpsProxy": PROXY}})
    await operator.healthy()
    assert await starts(subject) == before.starts + 1
    for unit in units(subject):
        assert (await subject.environment(unit))["https_proxy"] == PROXY
        found = await subject.stat(drop_in(unit))
        assert found is not None
        assert found.mode == "644"
        if "owners" in subject.supports:
            assert found.owner == "root:root"
    assert PROXY.encode() in await subject.read(settings(subject))
    assert (await operator.turn()).reason == READY
    assert operator.applies == 1
    operator.wants()
    await operator.healthy()
    for unit in units(subject):
        assert "https_proxy" not in await subject.environment(unit)
        assert await subject.stat(drop_in(unit)) is None
    assert PROXY.encode() not in await subject.read(settings(subject))
    assert (operator.applies, await temporary(subject)) == (2, [])


async def test_a_proxy_with_a_login_shows_it_to_nobody(subject: Subject, operator: Operator) -> None:
    """The processes have it; what systemd shows to everybody does not."""
    operator.secret("proxy", {"username": b"edge", "password": PASSWORD.encode()})
    operator.wants(runtime={"proxy": {"httpsProxy": PROXY, "credentialsSecretRef": {"name": "proxy"}}})
    await operator.healthy()
    for unit in units(subject):
        assert (await subject.environment(unit))["https_proxy"] == f"http://edge:{QUOTED}@proxy.example.net:3128"
        assert QUOTED not in await subject.run("systemctl", "show", unit)
        assert QUOTED.encode() not in await subject.read(drop_in(unit))
    found = await subject.stat(LOGIN_FILE)
    assert found is not None
    assert found.mode == "600"
    assert (await operator.turn()).reason == READY
    # Without a login the file is not needed any more.
    operator.wants(runtime={"proxy": {"httpsProxy": PROXY}})
    await operator.healthy()
    assert await subject.stat(LOGIN_FILE) is None
    assert (await subject.environment(units(subject)[0]))["https_proxy"] == PROXY


@pytest.mark.needs("dislikes")
async def test_a_proxy_does_not_stay_where_the_daemon_refuses_the_rest(subject: Subject, healthy: Operator) -> None:
    """One transaction: all files or none."""
    await subject.fault("dislikes")
    image = "mcr.microsoft.com/azureiotedge-agent:disliked"
    healthy.wants(runtime={"proxy": {"httpsProxy": PROXY}, "agent": {"image": image}})
    assert (await healthy.turn()).reason == "ConfigRejected"
    for unit in units(subject):
        assert await subject.stat(drop_in(unit)) is None
        assert "https_proxy" not in await subject.environment(unit)


async def test_a_drop_in_that_somebody_removed_is_there_again(subject: Subject, operator: Operator) -> None:
    """It is a drift like any other."""
    operator.wants(runtime={"proxy": {"httpsProxy": PROXY}})
    await operator.healthy()
    await subject.remove(drop_in(units(subject)[0]))
    assert (await operator.turn()).events == ("Normal ConfigDriftCorrected", "Warning DaemonRestarted")
    await operator.healthy()
    assert (await subject.environment(units(subject)[0]))["https_proxy"] == PROXY


async def test_a_login_for_the_registry(subject: Subject, operator: Operator) -> None:
    """It is in the daemon's file, and a second pass finds it there."""
    operator.secret("registry", docker_config("registry.example.net", "edge", "s3cret: #"))
    image = "registry.example.net/agent:1.4"
    operator.wants(runtime={"agent": {"image": image, "registryAuthSecretRef": {"name": "registry"}}})
    await operator.healthy()
    content = (await subject.read(settings(subject))).decode()
    for value in ("registry.example.net", "edge", "s3cret: #"):
        assert value in content
    assert (await operator.turn()).reason == READY
    assert operator.applies == 1


async def test_a_certificate_is_placed_for_who_needs_it(subject: Subject, operator: Operator) -> None:
    """And the daemon's file names it; nobody else reads the key."""
    operator.secret("certificate", certificate())
    x509_ = {"certificateSecretRef": {"name": "certificate"}}
    operator.wants(identity={"authentication": "SelfSignedX509", "x509": x509_})
    await operator.healthy()
    identity = await operator.hub.get(ID)
    assert identity is not None
    assert identity.thumbprints == Thumbprints(primary=credentials.thumbprint(certificate()["tls.crt"]), secondary=None)
    public, private = (f"{folder(subject)}/edgeherd/identity{part}.pem" for part in ("", ".key"))
    assert await subject.read(public) == certificate()["tls.crt"]
    assert await subject.read(private) == certificate()["tls.key"]
    owners = ("aziotcs", "aziotks") if is_toml(subject) else ("iotedge", "iotedge")
    for path, owner in zip((public, private), owners, strict=True):
        found = await subject.stat(path)
        assert found is not None
        assert found.mode == "400"
        if "owners" in subject.supports:
            assert found.owner == f"{owner}:{owner}"
            await subject.run("runuser", "-u", owner, "--", "test", "-r", path)
    content = (await subject.read(settings(subject))).decode()
    assert f"file://{private}" in content
    assert (await operator.turn()).reason == READY
    assert (operator.applies, await temporary(subject)) == (1, [])
