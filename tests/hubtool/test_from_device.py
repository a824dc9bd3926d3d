"""What a device's own file and its identity in the hub come to."""

import dataclasses
from typing import Any

import pytest

from edgeherd import config
from edgeherd.device.facts import Facts, Unit
from edgeherd.hub.port import Identity
from edgeherd.hubtool import from_device
from edgeherd.hubtool.from_device import NotImportableError
from edgeherd.hubtool.manifests import Certificate, Found
from edgeherd.model import Keys, Thumbprints

KEYS = Keys(primary="cHJpbWFyeS1wcmltYXJ5LXByaW1hcnk=", secondary="c2Vjb25kYXJ5LXNlY29uZGFyeS1zZWM=")
PRINTS = Thumbprints(primary="AB" * 20, secondary=None)
HUB = "contoso.azure-devices.net"
STRING = f"HostName={HUB};DeviceId=press-01;SharedAccessKey={{}}"
PARTS = f"""
[provisioning]
source = "manual"
iothub_hostname = "{HUB}"
device_id = "press-01"
[provisioning.authentication]
"""
SAS_PARTS = f'{PARTS}method = "sas"\ndevice_id_pk = {{ value = "{KEYS.secondary}" }}\n'
X509_PARTS = f'{PARTS}method = "x509"\nidentity_cert = "{{}}"\nidentity_pk = "file:///etc/certs/press.key"\n'
DPS = """
[provisioning]
source = "dps"
global_endpoint = "https://global.azure-devices-provisioning.net"
id_scope = "0ne"
[provisioning.attestation]
method = "symmetric_key"
registration_id = "press-01"
symmetric_key = { value = "a2V5a2V5" }
"""
IDENTITY = Identity(
    device_id="press-01",
    generation_id="1",
    etag="MQ==",
    enabled=True,
    iot_edge=True,
    authentication="sas",
    credentials=KEYS,
)
CERTIFIED = dataclasses.replace(IDENTITY, authentication="selfSigned", credentials=PRINTS)


def toml(text: str) -> config.Settings:
    """What a daemon of 1.5 understands."""
    return from_device.loaded(f'hostname = "press-01"\n{text}'.encode(), config.Version.parse("1.5.0"))


def manual(key: str) -> str:
    """A file with a connection string."""
    return f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING.format(key)}"\n'


@pytest.mark.parametrize(
    ("text", "identity", "expected"),
    [
        pytest.param(manual(KEYS.primary), IDENTITY, Found(device_id="press-01"), id="the primary key"),
        pytest.param(
            manual(KEYS.secondary),
            IDENTITY,
            Found(device_id="press-01", key_in_use="Secondary"),
            id="the secondary key",
        ),
        pytest.param(
            SAS_PARTS, IDENTITY, Found(device_id="press-01", key_in_use="Secondary"), id="in parts, as az writes it"
        ),
        pytest.param(
            manual(KEYS.primary),
            dataclasses.replace(IDENTITY, enabled=False),
            Found(device_id="press-01", enabled=False),
            id="a device that was disabled",
        ),
        pytest.param(
            X509_PARTS.format("file:///etc/certs/press.pem"),
            CERTIFIED,
            Found(
                device_id="press-01",
                certificate=Certificate(
                    thumbprints=PRINTS, path="/etc/certs/press.pem", key_path="/etc/certs/press.key"
                ),
            ),
            id="a certificate",
        ),
    ],
)
def test_what_is_found(text: str, identity: Identity, expected: Found) -> None:
    """The manifest says what cannot be left out, and nothing else."""
    settings = toml(text)
    assert from_device.device_id(settings, HUB.upper()) == "press-01"
    assert from_device.found(settings, identity) == expected


@pytest.mark.parametrize(
    ("text", "identity", "says"),
    [
        pytest.param(DPS, IDENTITY, "it is provisioned by 'dps.symmetric_key'; ", id="DPS"),
        pytest.param(manual("a2V5").replace(HUB, "fabrikam.net"), IDENTITY, "its file is for hub 'fabrikam.net'; ", id="another hub"),
        pytest.param(manual("a2V5"), IDENTITY, "the key in its file is none of the hub's", id="a key of nobody"),
        pytest.param(manual("a2V5"), CERTIFIED, "its file has a key, but in the hub it authenticates by 'selfSigned'", id="a key, and a certificate in the hub"),
        pytest.param(
            X509_PARTS.format("file:///etc/certs/press.pem"),
            IDENTITY,
            "its file has a certificate, but in the hub it authenticates by 'sas', without thumbprints",
            id="a certificate, and keys in the hub",
        ),
        pytest.param(
            X509_PARTS.format("https://ca.example/press.pem"),
            CERTIFIED,
            "its certificate or private key is not in a file (file:///...)",
            id="a certificate that is fetched",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_imported(text: str, identity: Identity, says: str) -> None:
    """Rather no manifest than one that changes the device."""

    def imported() -> None:
        settings = toml(text)
        from_device.device_id(settings, HUB)
        from_device.found(settings, identity)

    with pytest.raises(NotImportableError) as caught:
        imported()
    assert str(caught.value).startswith(says)


def facts(**more: Any) -> Facts:
    """One look at a device."""
    usual = {"version": "1.5.0", "path": "/etc/aziot/config.toml", "kind": "file", "mode": "600", "content": b"x"}
    return Facts(**{**usual, "unit": Unit(), "modules": (), **more})


@pytest.mark.parametrize(
    ("look", "says"),
    [
        pytest.param(facts(version=""), "it has no IoT Edge runtime ('iotedge version' fails)", id="no runtime"),
        pytest.param(facts(kind="absent", content=None), "its file /etc/aziot/config.toml is not there", id="no file"),
        pytest.param(
            facts(content=None), "its file /etc/aziot/config.toml is not there or cannot be read", id="unreadable"
        ),
    ],
)
def test_a_device_without_a_file(look: Facts, says: str) -> None:
    """There is nothing to leave as it is."""
    with pytest.raises(NotImportableError) as caught:
        from_device.content(look)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("modified", "started", "now", "due"),
    [(100, 200, 300, False), (203, 200, 300, True), (202, 200, 300, False), (400, 200, 300, False), (None, 200, 300, False)],
    ids=["older", "newer", "within the slack", "in the future", "not told"],
)  # fmt: skip
def test_whether_a_restart_is_due(modified: int | None, started: int, now: int, due: bool) -> None:
    """As the operator judges it."""
    assert from_device.restart_is_due(facts(modified=modified, started=started, now=now)) is due
