"""A cluster, a hub, a device and the reconciler between them, in memory; and the usual objects."""

import dataclasses
import datetime as dt
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeherd import resource
from edgeherd.clock import Clock
from edgeherd.controller.index import DeviceIndex
from edgeherd.errors import ReconcileError
from edgeherd.model import Condition, EdgeDevice, HubConnection, Key, Status
from edgeherd.reconcile.claims import Claims
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.reconcile.device import DeviceReconciler
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.requeue import Requeue
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd.reconcile.step import Dependencies
from edgeherd_sim.devices import filesystem
from edgeherd_sim.hub.store import Store
from edgeherd_sim.memory import MemoryCluster, MemoryDevice, MemoryHub, MemoryHubClient, MemoryNetwork, Steps, run_here

HOST = "contoso.azure-devices.net"
ID = "press-01"
KEY = Key("EdgeDevice", "plant-a", ID)
NAMESPACE = "edgeherd-system"
YAML_PATH = "/etc/iotedge/config.yaml"
SSH = {"host": "h", "user": "u", "hostKeys": ["ssh-ed25519 A"], "credentialsSecretRef": {"name": "ssh"}}
START = 1_767_225_600.0
"""2026-01-01T00:00:00Z"""


def edge_device(*, uid: str = "u1", status: Status | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> EdgeDevice:  # fmt: skip
    """An EdgeDevice; `spec` goes over the usual one."""
    body = {
        "metadata": {
            "name": ID,
            "namespace": "plant-a",
            "uid": uid,
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": annotations or {},
        },
        "spec": {"hubRef": {"name": "contoso"}, "ssh": SSH, **spec},
    }
    device = resource.edge_device(body)
    return dataclasses.replace(device, status=status or Status())


def connection(**spec: Any) -> HubConnection:
    """A HubConnection to the hub."""
    auth = {"connectionStringSecretRef": {"name": "hub"}}
    usual = {"hostName": HOST, "auth": auth, "allowedNamespaces": {"from": "All"}}
    return resource.hub_connection(
        {
            "metadata": {"name": "contoso", "uid": "h", "generation": 1, "resourceVersion": "1"},
            "spec": {**usual, **spec},
        }
    )


def fresh(**more: Any) -> MemoryDevice:
    """A 1.1 device as the package leaves it."""
    return MemoryDevice(files={YAML_PATH: filesystem.default_config()}, **more)


class Time:
    """What the clock says; a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        """The clock."""
        return Clock(wall=lambda: START + self.seconds, monotonic=lambda: self.seconds)


class Lab:
    """One EdgeDevice and its world. All side effects are in `steps`."""

    def __init__(
        self, memory: MemoryDevice | None = None, *, annotations: dict[str, str] | None = None, **spec: Any
    ) -> None:
        self.steps = Steps()
        self.time = Time()
        self.cluster = MemoryCluster(self.steps)
        self.store = Store()
        self.hub = MemoryHub(self.store, self.steps)
        self.memory = memory or fresh()
        self.memory.steps = self.steps
        self.network = MemoryNetwork(self.memory, self.steps)
        self.index = DeviceIndex()
        self.restart_operator()
        self.cluster.put_hub(connection())
        self.index.update_hub(connection())
        key = f"HostName={HOST};SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"
        self.cluster.put_secret(NAMESPACE, "hub", {"connectionString": key.encode()})
        self.put_ssh_secret()
        self.cluster.put_device(edge_device(annotations=annotations, **spec))

    def restart_operator(self) -> None:
        """All that is held in memory is gone."""
        hubs = HubClients(self.cluster, namespace=NAMESPACE, factory=lambda _, __: MemoryHubClient(self.hub))
        self.dependencies = Dependencies(
            cluster=self.cluster,
            hubs=hubs,
            ssh=SshLogins(self.cluster, connect=self.network.connect, host_key=self.network.host_key),
            editor=ConfigEditor(run_here),
            claims=Claims(self.cluster, hubs, self.index, self.time.clock),
            clock=self.time.clock,
        )
        self.reconciler = DeviceReconciler(self.dependencies)

    async def reconcile(self, *, after: float = 0.0) -> Requeue | None:
        """One pass, so many seconds later; `steps.taken` is what it did."""
        self.time.seconds += after
        self.memory.now = int(START + self.time.seconds)
        self.steps.taken.clear()
        return await self.reconciler.reconcile(KEY)

    async def until_ready(self) -> None:
        """Pass after pass, until all is well."""
        for _ in range(5):
            await self.reconcile(after=1)
            if self.condition("Ready").status == "True":
                return
        raise AssertionError(self.device.status)

    def edit(self, **changes: Any) -> None:
        """Somebody changes the object."""
        self.cluster.edit_device("plant-a", ID, **changes)

    def another(self, name: str, *, older: bool, **changes: Any) -> EdgeDevice:
        """Another EdgeDevice that names the same identity, as the watch shows it; it is in the cluster as well."""
        creation = "2025-01-01T00:00:00Z" if older else "2027-01-01T00:00:00Z"
        usual = {"name": name, "uid": f"uid-of-{name}", "creation": creation, "namespace": "plant-b", "device_id": ID}
        device = self.cluster.put_device(dataclasses.replace(edge_device(), **{**usual, **changes}))
        self.index.update(device)
        return device

    def put_ssh_secret(self) -> None:
        """The Secret with the login is there, of a type that says what it is for."""
        self.cluster.put_secret("plant-a", "ssh", {"password": b"pw"}, type_="kubernetes.io/basic-auth")

    def delete(self) -> None:
        """Somebody deletes it."""
        self.edit(deleted_at=self.time.clock.now())

    @property
    def device(self) -> EdgeDevice:
        """The object as the cluster has it."""
        return self.cluster.devices["plant-a", ID]

    def condition(self, type_: str) -> Condition:
        """A condition of it."""
        found = self.device.status.condition(type_)
        assert found is not None, type_
        return found

    @property
    def told(self) -> dict[str, str]:
        """All conditions: status and reason by type."""
        return {c.type: f"{c.status} {c.reason}" for c in self.device.status.conditions}

    @property
    def events(self) -> list[str]:
        """The reasons of all Events so far."""
        return [event.reason for event in self.cluster.events]


def self_signed() -> dict[str, bytes]:
    """The content of a Secret of type kubernetes.io/tls."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ID)])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=9))
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"tls.crt": pem, "tls.key": private}


def parts(error: ReconcileError) -> tuple[object, ...]:
    """All that there is to an error, but for where it shows."""
    return (type(error), error.reason, error.message, getattr(error, "retry_after", None))
