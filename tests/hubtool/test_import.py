"""Manifests for devices that are there already: those of a hub, and those of a configuration of az."""

import pathlib
from typing import Any

import pytest

from edgeherd import config
from edgeherd.hub.port import Listed, Owner
from edgeherd.hubtool import from_az, from_hub, manifests
from edgeherd.hubtool.manifests import Address, LeftOut
from edgeherd.model import Thumbprints

ADDRESS = Address(user="edgeops", secret="edge-ssh")
FIRST, SECOND = "ab" * 20, "CD" * 32
SAMPLE = """
configVersion: "1.0"

iotHub:
  authenticationMethod: symmetricKey

edgeConfiguration:
  templateConfigPath: "device_config.toml"
  defaultEdgeAgent: "$upstream:443/azureiotedge-agent:1.2"

edgeDevices:
  - deviceId: Line_1
    hostname: line_1
    edgeAgent: "mcr.microsoft.com/azureiotedge-agent:1.4"
    deployment: "./deployments/top.json"
    children:
    - deviceId: press-01
      children:
        - deviceId: $(reboot)
  - deviceId: press-02
    containerAuth:
      serverAddress: registry.example
      username: somebody
      password: correct-horse
"""
"""Of the form of Microsoft's own sample, nested_edge_config.yml."""


def listed(device_id: str, **more: Any) -> Listed:
    """A device of the hub."""
    usual = {"enabled": True, "authentication": "sas", "connected": False, "last_activity": "", "modules": 2}
    return Listed(device_id=device_id, **{**usual, **more})


def wanted(name: str, device_id: str, *, host: str = "CHANGE-ME", **spec: Any) -> dict[str, Any]:
    """The manifest that should come out."""
    ssh = {"host": host, "user": "edgeops", "credentialsSecretRef": {"name": "edge-ssh"}}
    said = {"hubRef": {"name": "contoso"}, "deviceId": device_id, "adoptionPolicy": "IfExists", "ssh": ssh, **spec}
    meta = {"name": name, "namespace": "plant-a"}
    return {"apiVersion": "edgeherd.io/v1alpha1", "kind": "EdgeDevice", "metadata": meta, "spec": said}


def x509(path: str, key_path: str, **more: Any) -> dict[str, Any]:
    """The identity of a device with a certificate."""
    thumbprints = {"primaryThumbprint": FIRST, "secondaryThumbprint": SECOND}
    paths = {"certificatePath": path, "privateKeyPath": key_path}
    return {**more, "authentication": "SelfSignedX509", "x509": {**thumbprints, **paths}}


def test_devices_of_a_hub() -> None:
    """Each is taken as it is; who cannot be is left out with the reason, and what a manifest does not have is named."""
    both = Thumbprints(primary=FIRST, secondary=SECOND)
    stranger = Owner(uid="u-9", namespace="plant-b", name="press-06")
    found = [
        listed("Press_01"),
        listed("a=b"),
        listed("cam-1", authentication="certificateAuthority"),
        listed("cam-2", authentication="selfSigned"),
        listed("cam-3", authentication="selfSigned", thumbprints=both, enabled=False),
        listed("press-01", tags=("line", "site"), parent="gate", deployments=("base",)),
        listed("press-02"),
        listed("press-03", enabled=False),
        listed("press-04", owner=Owner(uid="u-1", namespace="x", name="gone")),
        listed("press-06", owner=stranger),
    ]
    plan = from_hub.plan(
        found,
        {"press-02": "x/y"},
        address=ADDRESS,
        namespace="plant-a",
        hub="contoso",
        taken={"press-03"},
        uids={"u-1"},
    )
    assert plan == manifests.Plan(
        bodies=(
            wanted("press-01", "Press_01"),
            wanted("cam-3", "cam-3", identity=x509("/CHANGE-ME/certificate.pem", "/CHANGE-ME/private-key.pem", status="Disabled")),
            wanted("press-01-2", "press-01"),
            wanted("press-03-2", "press-03", identity={"status": "Disabled"}),
            wanted("press-04", "press-04"),
            wanted("press-06", "press-06"),
        ),
        left_out=(
            LeftOut(device_id="a=b", why="its id has a character that connection strings cannot hold"),
            LeftOut(device_id="cam-1", why="it authenticates by a certificate authority, which an EdgeDevice cannot"),
            LeftOut(device_id="cam-2", why="the hub has no thumbprint of it, so it cannot connect"),
        ),
        notes=(
            "cam-3: say where its certificate and private key are, in spec.identity.x509",
            ("press-01: its parent gate and its tags line, site and its deployments base stay in the hub as they are; the "
            "manifest does not have them"),
            "press-06: its twin says that it belongs to EdgeDevice 'plant-b/press-06', which is not in this cluster",
        ),
    )  # fmt: skip


def carried_over(text: str, *found: Listed, **managed: str) -> manifests.Plan:
    """The plan for a file in /plant."""
    return from_az.plan(
        from_az.read(config.plain_yaml(text)),
        {device.device_id: device for device in found},
        managed,
        folder=pathlib.Path("/plant/files"),
        address=ADDRESS,
        namespace="plant-a",
        hub="contoso",
        taken={"line-1"},
    )


def test_a_configuration_of_az() -> None:
    """Host names and images are kept, children follow, a registry login names its Secret; the rest is named. No password."""
    default = {"image": "$upstream:443/azureiotedge-agent:1.2"}
    plan = carried_over(SAMPLE, listed("press-01", enabled=False))
    assert plan == manifests.Plan(
        bodies=(
            wanted(
                "line-1-2",
                "Line_1",
                host="line_1",
                runtime={"hostname": "line_1", "agent": {"image": "mcr.microsoft.com/azureiotedge-agent:1.4"}},
            ),
            wanted("press-01", "press-01", identity={"status": "Disabled"}, runtime={"agent": default}),
            wanted("reboot", "$(reboot)", runtime={"agent": default}),
            wanted(
                "press-02",
                "press-02",
                runtime={"agent": {**default, "registryAuthSecretRef": {"name": "press-02-registry"}}},
            ),
        ),
        notes=(
            "the template /plant/files/device_config.toml is not read: what a device's own file says beside the manifest stays",
            (
                "Line_1: its deployment is not carried over; "
                "az iot edge set-modules --device-id Line_1 --content /plant/files/deployments/top.json"
            ),
            (
                "press-01: its parent Line_1 is not carried over; "
                "az iot hub device-identity parent set --device-id press-01 --parent-device-id Line_1"
            ),
            (
                "$(reboot): its parent press-01 is not carried over; "
                "az iot hub device-identity parent set --device-id '$(reboot)' --parent-device-id press-01"
            ),
            (
                "press-02: its login for registry.example belongs in a Secret; kubectl create secret docker-registry "
                "press-02-registry --namespace plant-a --docker-server registry.example --docker-username ... --docker-password ..."
            ),
        ),
    )
    assert "correct-horse" not in str(plan)


CERTIFIED = """
configVersion: "1.0"
iotHub: {authenticationMethod: x509Certificate}
certificates: {rootCACertPath: ca.pem, rootCACertKeyPath: ca.key.pem}
edgeConfiguration: {defaultEdgeAgent: agent}
edgeDevices: [{deviceId: cam-1}, {deviceId: cam-2}, {deviceId: cam-3}, {deviceId: cam-4}, {deviceId: a=b}]
"""


def test_a_configuration_with_certificates() -> None:
    """The hub tells the thumbprints: that of the device's CA, and that of the certificate that it logs in with."""
    both = Thumbprints(primary=FIRST, secondary=SECOND)
    plan = carried_over(
        CERTIFIED,
        listed("cam-1", authentication="selfSigned", thumbprints=both),
        listed("cam-2"),
        listed("cam-4", authentication="selfSigned", thumbprints=both),
        **{"cam-4": "plant-a/cam"},
    )
    path = "/etc/aziot/certificates/cam-1.hub-auth"
    assert plan == manifests.Plan(
        bodies=(
            wanted(
                "cam-1",
                "cam-1",
                identity=x509(f"{path}-cert.pem", f"{path}-key.pem"),
                runtime={"agent": {"image": "agent"}},
            ),
        ),
        left_out=(
            LeftOut(device_id="cam-2", why="in the hub it authenticates by 'sas'"),
            LeftOut(
                device_id="cam-3",
                why="the hub has no such edge device, and with X.509 only the hub knows its thumbprints",
            ),
            LeftOut(device_id="cam-4", why="EdgeDevice 'plant-a/cam' manages it already"),
            LeftOut(device_id="a=b", why="its id has a character that connection strings cannot hold"),
        ),
        notes=(
            "the root certificate under 'certificates' is not carried over: devices keep the trust bundle that they have",
        ),
    )


HEAD: dict[str, Any] = {
    "configVersion": "1.0",
    "iotHub": {"authenticationMethod": "symmetricKey"},
    "edgeConfiguration": {"defaultEdgeAgent": "agent"},
}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        pytest.param(None, "it is no mapping; is it a configuration of 'az iot edge devices create'?", id="nothing"),
        pytest.param([1], "it is no mapping; is it a configuration of 'az iot edge devices create'?", id="a list"),
        pytest.param({**HEAD, "configVersion": None}, "configVersion must be '1.0', in quotation marks", id="no version"),
        pytest.param({**HEAD, "configVersion": 1.0}, "configVersion must be '1.0', in quotation marks", id="a number"),
        pytest.param({**HEAD, "configVersion": "2.0"}, "configVersion must be '1.0', in quotation marks", id="another version"),
        pytest.param({**HEAD, "iotHub": None}, "iotHub.authenticationMethod is missing", id="no method"),
        pytest.param({**HEAD, "iotHub": 1}, "iotHub is not a mapping", id="a hub that is a number"),
        pytest.param(
            {**HEAD, "iotHub": {"authenticationMethod": "tpm"}},
            "iotHub.authenticationMethod must be 'symmetricKey' or 'x509Certificate'",
            id="another method",
        ),
        pytest.param({**HEAD, "edgeConfiguration": {}}, "edgeConfiguration.defaultEdgeAgent is missing", id="no image"),
        pytest.param(HEAD, "edgeDevices is not a list", id="no devices"),
        pytest.param({**HEAD, "edgeDevices": [1]}, "edgeDevices[0] is not a mapping", id="a device that is a number"),
        pytest.param({**HEAD, "edgeDevices": [{}]}, "edgeDevices[0].deviceId is missing", id="no id"),
        pytest.param({**HEAD, "edgeDevices": [{"deviceId": 7}]}, "edgeDevices[0].deviceId is no text", id="a number as id"),
        pytest.param({**HEAD, "edgeDevices": [{"deviceId": "a\nb"}]}, "edgeDevices[0].deviceId has a control character", id="a line break"),
        pytest.param({**HEAD, "edgeDevices": [{"deviceId": "a", "children": 1}]}, "edgeDevices[0].children is not a list", id="odd children"),
        pytest.param(
            {**HEAD, "edgeDevices": [{"deviceId": "a", "containerAuth": {"username": "x"}}]},
            "edgeDevices[0].containerAuth.serverAddress is missing",
            id="a login without a server",
        ),
        pytest.param(
            {**HEAD, "edgeDevices": [{"deviceId": "a", "children": [{"deviceId": "b"}, {"deviceId": "a"}]}]},
            "edgeDevices[0].children[1].deviceId is that of edgeDevices[0] again",
            id="an id that is there twice",
        ),
    ],
)  # fmt: skip
def test_what_is_no_such_configuration_is_refused(document: Any, says: str) -> None:
    """With the place that is wrong."""
    with pytest.raises(from_az.FormatError) as caught:
        from_az.read(document)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("device_id", "name"),
    [("press-01", "press-01"), ("Press_01", "press-01"), ("$(reboot)", "reboot"), ("a..b", "a.b"), ("***", "device"), ("a.-b", "a.b")],
    ids=str,
)  # fmt: skip
def test_names_are_legal(device_id: str, name: str) -> None:
    """And as like the id as the rules allow."""
    assert manifests.object_name(device_id, set()) == name


@pytest.mark.parametrize(
    ("device_id", "usable"),
    [("press-01", True), ("a.b", True), ("$(reboot)", True), ("...", False), ("a=b", False), ("a;b", False), ("a'b", False), ("", False), ("a" * 129, False)],
    ids=str,
)  # fmt: skip
def test_ids(device_id: str, usable: bool) -> None:
    """Those that the CRD takes."""
    assert manifests.usable_id(device_id) is usable
