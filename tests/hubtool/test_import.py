"""Manifests for devices that are there already."""

from typing import Any

import pytest

from edgeherd import config
from edgeherd.hub.port import Listed
from edgeherd.hubtool import manifests

SSH = {"user": "edgeops", "secret": "edge-ssh"}
AZ = """
configVersion: "1.0"
iotHub:
  authenticationMethod: symmetricKey
edgeConfiguration:
  templateConfigPath: ./device_config.toml
  defaultEdgeAgent: mcr.microsoft.com/azureiotedge-agent:1.4
edgeDevices:
  - deviceId: Line_1
    hostname: line-1.plant.example
    children:
      - deviceId: press-01
        edgeAgent: registry.example/agent:1
"""


def listed(device_id: str) -> Listed:
    """A device of the hub."""
    return Listed(device_id=device_id, enabled=True, authentication="sas", connected=False, last_activity="", modules=2)


def wanted(name: str, device_id: str, host: str = "CHANGE-ME", **spec: Any) -> dict[str, Any]:
    """The manifest that should come out."""
    ssh = {"host": host, "user": "edgeops", "credentialsSecretRef": {"name": "edge-ssh"}}
    said = {"hubRef": {"name": "contoso"}, "deviceId": device_id, "adoptionPolicy": "IfExists", "ssh": ssh, **spec}
    meta = {"name": name, "namespace": "plant-a"}
    return {"apiVersion": "edgeherd.io/v1alpha1", "kind": "EdgeDevice", "metadata": meta, "spec": said}


def test_unmanaged_devices_get_a_manifest_each() -> None:
    """Those that an EdgeDevice manages, and ids that no connection string can hold, are left out."""
    found = [listed(name) for name in ("press-01", "Press_01", "a=b", "press-02")]
    made = manifests.for_unmanaged(found, {"press-02": "x/y"}, namespace="plant-a", hub="contoso", ssh=SSH)
    assert list(made) == [wanted("press-01", "press-01"), wanted("press-01-2", "Press_01")]


def test_a_configuration_of_az_is_carried_over() -> None:
    """Children too; host names and agent images are kept."""
    made = manifests.from_az(config.plain_yaml(AZ), namespace="plant-a", hub="contoso", ssh=SSH)
    host = "line-1.plant.example"
    default = {"image": "mcr.microsoft.com/azureiotedge-agent:1.4"}
    assert list(made) == [
        wanted("line-1", "Line_1", host, runtime={"hostname": host, "agent": default}),
        wanted("press-01", "press-01", runtime={"agent": {"image": "registry.example/agent:1"}}),
    ]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (None, "no list 'edgeDevices'"),
        ({"edgeDevices": 1}, "no list 'edgeDevices'"),
        ({"edgeDevices": [1]}, "edgeDevices[0] is not a mapping"),
        ({"edgeDevices": [{"deviceId": "a", "children": 1}]}, "edgeDevices[0].children is not a list"),
        ({"edgeDevices": [{"deviceId": "a;b"}]}, "edgeDevices[0].deviceId"),
        ({"iotHub": {"authenticationMethod": "x509Certificate"}, "edgeDevices": []}, "only 'symmetricKey'"),
    ],
    ids=["nothing", "no list", "no mapping", "children that are no list", "an odd id", "certificates"],
)
def test_what_is_no_such_configuration_is_refused(document: Any, says: str) -> None:
    """With the place that is wrong."""
    with pytest.raises(manifests.FormatError) as caught:
        list(manifests.from_az(document, namespace="n", hub="h", ssh=SSH))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("device_id", "name"),
    [("press-01", "press-01"), ("Press_01", "press-01"), ("$(reboot)", "reboot"), ("a..b", "a.b"), ("***", "device"), ("a.-b", "a.b")],
    ids=str,
)  # fmt: skip
def test_names_are_legal(device_id: str, name: str) -> None:
    """And as like the id as the rules allow."""
    assert manifests.object_name(device_id, set()) == name
