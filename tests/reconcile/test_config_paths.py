"""Which files a manifest may name on a device."""

from typing import Any

import pytest
from memory_lab import Lab, connection, edge_device, fresh

from edgeherd.errors import Stalled
from edgeherd.reconcile import config_paths
from edgeherd_sim.memory import MemoryDevice

WINDOWS = "C:\\ProgramData\\iotedge\\config.yaml"


@pytest.mark.parametrize(
    ("path", "allowed", "expected"),
    [
        ("/etc/iotedge/config.yaml", ("/etc/iotedge/config.yaml",), True),
        ("/etc/iotedge/config.yaml", ("/etc/iotedge/",), True),
        ("/etc/iotedge/deep/er/config.yaml", ("/etc/iotedge/",), True),
        ("/etc/iotedge/config.yaml", ("/opt/x.yaml", "/"), True),
        ("/etc/iotedge/config.yaml", ("/etc/iotedge",), False),
        ("/etc/iotedge/config.yaml", ("/etc/iotedge/config",), False),
        ("/etc/iotedge2/config.yaml", ("/etc/iotedge/",), False),
        ("/etc/IoTEdge/config.yaml", ("/etc/iotedge/",), False),
        ("/etc/iotedge/../shadow.yaml", ("/etc/iotedge/", "/"), False),
        (WINDOWS, ("C:\\ProgramData\\iotedge\\",), True),
        (WINDOWS, ("c:\\programdata\\IOTEDGE\\config.yaml",), True),
        (WINDOWS, ("C:\\ProgramData\\iot\\",), False),
        (WINDOWS, ("D:\\ProgramData\\iotedge\\",), False),
        (WINDOWS, ("/",), False),
    ],
)
def test_a_path_is_listed_or_below_a_folder_that_is(path: str, allowed: tuple[str, ...], expected: bool) -> None:
    """A folder ends in '/' or a backslash; Windows does not mind the case, Linux does."""
    assert config_paths.is_allowed(path, allowed) is expected


THUMBPRINT = {"primaryThumbprint": "A" * 40}
FROM_SECRET = {"certificateSecretRef": {"name": "cert"}}


def placed(x509: dict[str, Any], certificate: str, key: str) -> dict[str, Any]:
    """A spec with the paths of a certificate."""
    paths = {"certificatePath": certificate, "privateKeyPath": key}
    return {"identity": {"authentication": "SelfSignedX509", "x509": {**x509, **paths}}}


def refused(spec: dict[str, Any], hub: dict[str, Any]) -> str:
    """Which field is refused; empty for none."""
    try:
        config_paths.require(edge_device(**spec), connection(**hub))
    except Stalled as exc:
        return f"{exc.reason} {exc.message.partition(' ')[0]}"
    return ""


CERTIFICATE, PRIVATE_KEY = "spec.identity.x509.certificatePath", "spec.identity.x509.privateKeyPath"
LISTED = {"allowedConfigPaths": ["/opt/edge/", "/srv/config.yaml"]}


@pytest.mark.parametrize(
    ("hub", "spec", "expected"),
    [
        pytest.param({}, {}, "", id="nothing is named, nothing listed"),
        pytest.param(LISTED, {}, "", id="the runtime's own place needs no entry"),
        pytest.param(LISTED, {"identity": {"authentication": "SelfSignedX509", "x509": FROM_SECRET}}, "", id="nor does ours for a certificate"),
        pytest.param({}, {"runtime": {"configPath": "/etc/iotedge/other.yaml"}}, "", id="a file of the runtime's folder"),
        pytest.param({}, {"runtime": {"configPath": WINDOWS}}, "", id="on Windows too"),
        pytest.param({}, {"runtime": {"configPath": "/etc/netplan/01.yaml"}}, "spec.runtime.configPath", id="somebody else's file"),
        pytest.param(LISTED, {"runtime": {"configPath": "/srv/config.yaml"}}, "", id="a file that is listed"),
        pytest.param(LISTED, {"runtime": {"configPath": "/etc/iotedge/other.yaml"}}, "spec.runtime.configPath", id="a list is all there is"),
        pytest.param({}, placed(FROM_SECRET, "/etc/aziot/a.pem", "/etc/aziot/a.key"), "", id="a certificate that is written into the runtime's folder"),
        pytest.param({}, placed(FROM_SECRET, "/etc/cron.d/a", "/etc/aziot/a.key"), CERTIFICATE, id="a certificate that is written elsewhere"),
        pytest.param({}, placed(FROM_SECRET, "/etc/aziot/a.pem", "/root/a.key"), PRIVATE_KEY, id="a key that is written elsewhere"),
        pytest.param({}, placed(THUMBPRINT, "/etc/certs/a.pem", "/etc/certs/a.key"), "", id="a certificate that is there already is not written"),
        pytest.param(LISTED, placed(THUMBPRINT, "/etc/certs/a.pem", "/opt/edge/a.key"), CERTIFICATE, id="with a list it must be listed all the same"),
        pytest.param(LISTED, placed(THUMBPRINT, "/opt/edge/a.pem", "/opt/edge/a.key"), "", id="and it is"),
    ],
)  # fmt: skip
def test_what_a_manifest_may_name(hub: dict[str, Any], spec: dict[str, Any], expected: str) -> None:
    """Without a list the runtime's own folders, for what is written."""
    assert refused(spec, hub) == (f"ConfigPathNotAllowed {expected}" if expected else "")


@pytest.mark.parametrize(
    ("hub", "rule"),
    [
        pytest.param({}, "it lists none, so it must be below /etc/iotedge/ or /etc/aziot/ or C:\\ProgramData\\iotedge\\", id="no list"),
        pytest.param(LISTED, "it is not listed", id="a list, which is not told"),
    ],
)  # fmt: skip
async def test_nothing_is_done_on_the_device(hub: dict[str, Any], rule: str) -> None:
    """Not even a look, neither now nor when the object is deleted: the message says who can help."""
    path = "/etc/netplan/01.yaml"
    lab = Lab(MemoryDevice(path=path, files={path: b"network: {}\n"}), runtime={"configPath": path})
    lab.cluster.put_hub(connection(**hub))
    await lab.reconcile()
    assert (lab.told["ConfigApplied"], lab.told["Stalled"]) == (
        "False ConfigPathNotAllowed",
        "True ConfigPathNotAllowed",
    )
    assert lab.condition("Stalled").message == (
        f"spec.runtime.configPath is '{path}', which HubConnection 'contoso' does not allow ({rule}). Name another path, "
        "or ask the platform's administrator to add it to spec.allowedConfigPaths."
    )
    assert not {"observe", "restart"} & set(lab.steps.taken)


async def test_a_path_that_is_not_allowed_any_more_is_left_alone_by_a_deletion() -> None:
    """Else somebody could name another file just before; the identity goes all the same."""
    lab = Lab(fresh())
    await lab.until_ready()
    lab.edit(runtime=edge_device(runtime={"configPath": "/etc/netplan/01.yaml"}).runtime)
    lab.delete()
    assert await lab.reconcile() is None
    assert lab.steps.taken == [
        "get twin",
        "status",
        "get identity",
        "get twin",
        "delete identity",
        "event DeviceCleanupSkipped",
        "event IdentityReleased",
        "remove finalizer",
    ]


@pytest.mark.parametrize(
    ("certificate_path", "config_path"),
    [
        pytest.param("/etc/iotedge/config.yaml", None, id="where it usually is"),
        pytest.param("/etc/iotedge/other.yaml", "/etc/iotedge/other.yaml", id="where the spec says"),
    ],
)
async def test_a_certificate_does_not_replace_the_daemons_file(certificate_path: str, config_path: str | None) -> None:
    """It would be written over it, with all that the device is set up with."""
    paths = {"certificatePath": certificate_path, "privateKeyPath": "/etc/iotedge/identity.key.pem"}
    reference = {"certificateSecretRef": {"name": "cert"}, **paths}
    runtime = {"configPath": config_path} if config_path else {}
    device = edge_device(identity={"authentication": "SelfSignedX509", "x509": reference}, runtime=runtime)
    with pytest.raises(Stalled, match="the daemon's own file"):
        config_paths.require(device, connection())
