"""The world of the e2e tests: an API server, a hub, devices, and the operator as a process of its own."""

import asyncio
import base64
import contextlib
import copy
import dataclasses
import json
import pathlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from account import Account, install

import processes
import rights
from edgeherd import config
from edgeherd.cluster.client import MERGE_PATCH, ApiClient, path
from edgeherd.cluster.errors import ApiError
from edgeherd_sim.demo import scene, stage
from edgeherd_sim.demo.stage import Kubectl, Running
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.server import Fleet
from edgeherd_sim.hub.server import Hub
from waiting import until

PATIENCE_SECONDS = 45.0
REFUSED = pathlib.Path(__file__).parents[1] / "refused"
"""A folder for PYTHONPATH: there is no uamqp for arm64, and the operator runs there too."""
PASSWORD = "correct horse, battery $taple"
"""Of the login user on the modern devices."""

Body = dict[str, Any]
Expectation = Callable[[Body], bool]


def edge_devices(namespace: str, name: str = "") -> str:
    """The path of one EdgeDevice, or of all of a namespace."""
    return path("edgeherd.io", "v1alpha1", "edgedevices", namespace=namespace, name=name)


def condition(body: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """A condition of an object; empty when it is not there."""
    found = [c for c in body.get("status", {}).get("conditions", []) if c["type"] == type_]
    return found[0] if found else {}


def is_ready(body: Body) -> bool:
    """Ready at the present generation."""
    ready = condition(body, "Ready")
    return ready.get("status") == "True" and ready.get("observedGeneration") == body["metadata"]["generation"]


def because(reason: str) -> Expectation:
    """Not Ready, for that reason, at the present generation."""

    def holds(body: Body) -> bool:
        ready = condition(body, "Ready")
        current = ready.get("observedGeneration") == body["metadata"]["generation"]
        return current and ready.get("status") == "False" and ready.get("reason") == reason

    return holds


def _children(pid: int) -> list[int]:
    """The processes that a process started."""
    try:
        return [
            int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        ]
    except FileNotFoundError:  # it ended already
        return []


@dataclasses.dataclass(slots=True, kw_only=True)
class World:
    """What the tests of a session share. Each test has a namespace and devices of its own in it."""

    kubectl: Kubectl
    cluster: ApiClient
    hub: Hub
    fleet: Fleet
    modern: Fleet
    """Devices of IoT Edge 1.5, which are jump hosts too and take PASSWORD."""
    folder: pathlib.Path
    collects_garbage: bool
    """Whether somebody deletes what belonged to a deleted object: an API server without its controllers does not."""
    namespace: str
    hub_name: str
    operator_kubeconfig: pathlib.Path | None = None
    """What the operator logs in with, where that is neither kubectl's nor its account's."""
    audit_log: rights.AuditLog | None = None
    """What the operator asked the API server for, where that tells."""
    account: Account | None = None
    """Who the operator is; None where it is the administrator, because the API server knows no rights."""
    may_be_denied: set[str] = dataclasses.field(default_factory=set)
    """Rights that a test took away; all others that the operator is denied are a mistake of the manifests."""
    operator: Running | None = None
    _operator_stack: contextlib.AsyncExitStack = dataclasses.field(default_factory=contextlib.AsyncExitStack)
    _free: list[Device] = dataclasses.field(default_factory=list)
    _free_modern: list[Device] = dataclasses.field(default_factory=list)

    async def prepare(self, *, as_account: bool = False) -> None:
        """Make the operator's namespace, its account, and the hub that all tests use."""
        self._free, self._free_modern = list(self.fleet.devices), list(self.modern.devices)
        await self.kubectl("create", "namespace", self.namespace)
        if as_account:
            run = self.namespace.removeprefix("edgeherd-")
            self.account = await install(self.kubectl, self.folder, namespace=self.namespace, run=run)
        await self.put_hub_secret("hub", self.hub.connection_string)
        await self.kubectl.apply(self.hub_connection(self.hub_name, "hub"))

    async def _create(self, plural: str, kind: str, namespace: str, **body: Any) -> None:
        """What every test needs is made without kubectl, each call of which costs as much as a dozen requests."""
        said = {"apiVersion": "v1", "kind": kind, **body}
        where = path("", "v1", plural, namespace=namespace)
        await self.cluster.request("POST", where, body=said, content_type="application/json")

    async def put_secret(self, namespace: str, name: str, kind: str, data: Mapping[str, str]) -> None:
        """A Secret of a type."""
        await self._create("secrets", "Secret", namespace, metadata={"name": name}, type=kind, stringData=dict(data))

    async def put_hub_secret(self, name: str, connection_string: str) -> None:
        """A Secret with a hub's connection string."""
        await self.put_secret(self.namespace, name, "Opaque", {"connectionString": connection_string})

    def hub_connection(self, name: str, secret: str, **spec: Any) -> Body:
        """A HubConnection to the emulator."""
        said = {
            "hostName": self.hub.host_name,
            "port": self.hub.port,
            "auth": {"connectionStringSecretRef": {"name": secret}},
            "allowedNamespaces": {"from": "All"},
            "allowedCIDRs": ["127.0.0.0/8"],
            "budget": {"registryOperationsPerMinute": 10000},
            **spec,
        }
        return {"apiVersion": "edgeherd.io/v1alpha1", "kind": "HubConnection", "metadata": {"name": name}, "spec": said}

    async def start_operator(self, *, says: str = "watches EdgeDevices", **more: str) -> None:
        """Start the operator, as `edgeherd run`, with more environment; it is there when its log says so.

        Where it runs uamqp cannot be imported.
        """
        own = self.account.kubeconfig if self.account else self.kubectl.kubeconfig
        environment = {
            **scene.operator_environment(self.operator_kubeconfig or own, self.hub.facts(), namespace=self.namespace),
            "PYTHONPATH": str(REFUSED),
            "EDGEHERD_METRICS_ADDRESS": "127.0.0.1:0",
            "EDGEHERD_PROBE_ADDRESS": "127.0.0.1:0",
        }
        running = stage.operator({**environment, **more}, folder=self.folder, says=says)
        self.operator = await self._operator_stack.enter_async_context(running)

    async def kill_operator(self) -> None:
        """SIGKILL."""
        assert self.operator is not None
        workers = _children(self.operator.process.pid)
        await self.operator.stop(kill=True)
        await self._operator_stack.aclose()
        await until(lambda: not any(map(processes.runs, workers)))

    async def stop_operator(self) -> None:
        """SIGTERM, as a Pod is ended. No process of its own stays behind."""
        assert self.operator is not None
        workers = _children(self.operator.process.pid)
        await self._operator_stack.aclose()
        await until(lambda: not any(map(processes.runs, workers)))

    def device(self) -> Device:
        """A device that no other test has."""
        return self._free.pop()

    def modern_device(self) -> Device:
        """One with IoT Edge 1.5."""
        return self._free_modern.pop()

    @contextlib.asynccontextmanager
    async def team(self, **labels: str) -> AsyncIterator["Team"]:
        """A namespace with the devices' SSH Secret, until the block ends."""
        name = f"e2e-{secrets.token_hex(4)}"
        await self._create("namespaces", "Namespace", "", metadata={"name": name, "labels": labels})
        login = {"ssh-privatekey": self.fleet.private_key.decode()}
        await self.put_secret(name, "ssh", "kubernetes.io/ssh-auth", login)
        team = Team(world=self, namespace=name)
        try:
            yield team
        finally:
            self.hub.faults.clear()
            for device in team.devices:
                device.faults.clear()
            for where in (edge_devices(name), path("", "v1", "namespaces", name=name)):
                with contextlib.suppress(ApiError):
                    await self.cluster.request("DELETE", where)

    async def events(self, namespace: str) -> list[Body]:
        """All Events of a namespace."""
        found: list[Body] = (await self.cluster.request("GET", path("", "v1", "events", namespace=namespace)))["items"]
        return found

    def log(self) -> list[Body]:
        """The lines of the operator's log, which is in a file and so in JSON; of all operators so far."""
        lines = (self.folder / "operator.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]  # its last words are a sentence

    def log_of(self, namespace: str, name: str) -> list[Body]:
        """Those about an EdgeDevice."""
        return [line for line in self.log() if (line.get("namespace"), line.get("name")) == (namespace, name)]

    def url(self, path: str) -> str:
        """Where the operator serves '/metrics', '/healthz' or '/readyz'."""
        said = [line["message"] for line in self.log() if line["message"].startswith("serves ")]
        port = next(words.split()[-1] for words in reversed(said) if path in words)
        return f"http://127.0.0.1:{port}{path}"

    def leaks(self) -> list[str]:
        """Secrets that the operator's log shows."""
        log = (self.folder / "operator.log").read_text(errors="replace")
        keys = [identity.authentication.primary_key for identity in self.hub.store.devices()]
        keys += [identity.authentication.secondary_key for identity in self.hub.store.devices()]
        keys += [PASSWORD, *self.hub.policies.values(), *_inner_lines(self.fleet.private_key)]
        return [key for key in keys if key and key in log]


def _inner_lines(private_key: bytes) -> list[str]:
    return [line for line in private_key.decode().splitlines() if line and not line.startswith("-")]


@dataclasses.dataclass(slots=True, kw_only=True)
class Team:
    """One test's namespace."""

    world: World
    namespace: str
    devices: list[Device] = dataclasses.field(default_factory=list)

    def manifest(self, device: Device, *, name: str = "", **spec: Any) -> Body:
        """An EdgeDevice for a device; `spec` goes over the usual one, key by key, mappings merged, None removes."""
        if device not in self.devices:
            self.devices.append(device)
        usual: Body = {
            "hubRef": {"name": self.world.hub_name},
            "deviceId": f"{self.namespace}.{name or device.name}",
            "ssh": {
                "host": device.host,
                "port": device.port,
                "user": device.user,
                "credentialsSecretRef": {"name": "ssh"},
                "hostKeys": [device.facts()["hostKey"]],
            },
            "intervalSeconds": 60,
        }
        return {
            "apiVersion": "edgeherd.io/v1alpha1",
            "kind": "EdgeDevice",
            "metadata": {"name": name or device.name, "namespace": self.namespace},
            "spec": _merged(usual, spec),
        }

    async def apply(self, body: Body) -> "Managed":
        """`kubectl apply` it."""
        await self.world.kubectl.apply(body)
        return Managed(team=self, body=body)

    async def ready(self, device: Device, *, name: str = "", **spec: Any) -> "Managed":
        """Apply a manifest and wait until it is Ready."""
        managed = await self.apply(self.manifest(device, name=name, **spec))
        await managed.until(is_ready)
        return managed

    async def events(self, name: str) -> list[str]:
        """The reasons of the Events on an EdgeDevice."""
        return [
            event["reason"]
            for event in await self.world.events(self.namespace)
            if event["involvedObject"]["name"] == name
        ]


@dataclasses.dataclass(slots=True, kw_only=True)
class Managed:
    """One EdgeDevice."""

    team: Team
    body: Body

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def device_id(self) -> str:
        """Its identity in the hub."""
        return str(self.body["spec"]["deviceId"])

    async def get(self) -> Body | None:
        """The object now."""
        return await self.team.world.cluster.find(self._path)

    @property
    def _path(self) -> str:
        return edge_devices(self.team.namespace, self.name)

    async def until(self, holds: Expectation, *, patience: float = PATIENCE_SECONDS) -> Body:
        """Wait until the object is as expected; the failure shows what it is instead."""
        deadline = time.monotonic() + patience
        while True:
            body = await self.get()
            assert body is not None, f"{self.name} is gone"
            if holds(body):
                return body
            if time.monotonic() > deadline:
                world = self.team.world
                tail = world.operator.last_words() if world.operator else ""
                raise AssertionError(f"{self.name}: {body.get('status')}\n{tail}")
            await asyncio.sleep(0.15)

    async def until_no_secret(self, *, patience: float = PATIENCE_SECONDS) -> None:
        """Wait until its connection Secret is gone."""
        deadline = time.monotonic() + patience
        while await self.secret() is not None:
            assert time.monotonic() < deadline, f"the Secret of {self.name} is still there"
            await asyncio.sleep(0.15)

    async def until_gone(self, *, patience: float = PATIENCE_SECONDS) -> None:
        """Wait until the object is gone."""
        deadline = time.monotonic() + patience
        while (body := await self.get()) is not None:
            assert time.monotonic() < deadline, f"{self.name} is still there: {body.get('status')}"
            await asyncio.sleep(0.15)

    async def patch(self, **spec: Any) -> None:
        """Edit the spec."""
        self.body = _merged(self.body, {"spec": spec})
        await self.team.world.kubectl.apply(self.body)

    async def look_now(self) -> Body:
        """Ask for a pass now, and wait until one is through."""
        at = secrets.token_hex(6)
        await self.annotate("reconcile.edgeherd.io/requestedAt", at)
        return await self.until(lambda body: body.get("status", {}).get("lastHandledReconcileAt") == at)

    async def annotate(self, key: str, value: str) -> None:
        """Set an annotation."""
        body = {"metadata": {"annotations": {key: value}}}
        await self.team.world.cluster.request("PATCH", self._path, body=body, content_type=MERGE_PATCH)

    async def delete(self) -> None:
        """Ask for its deletion, without waiting."""
        await self.team.world.cluster.request("DELETE", self._path)

    async def secret(self) -> dict[str, str] | None:
        """The content of its connection Secret."""
        where = path("", "v1", "secrets", namespace=self.team.namespace, name=f"{self.name}-connection")
        body = await self.team.world.cluster.find(where)
        return None if body is None else {k: base64.b64decode(v).decode() for k, v in body["data"].items()}


def settings_of(device: Device) -> config.Settings:
    """What the device's daemon understands of its file."""
    version = "1.5.44" if device.config_file.suffix == ".toml" else "1.0.10"
    return config.load(device.config_file.read_bytes(), version=config.Version.parse(version))


async def assert_whole(managed: Managed, device: Device, *, key_in_use: str = "Primary") -> None:
    """Hub, Secret and device agree, and nothing else was touched: the end that every path must lead to."""
    world = managed.team.world
    identity = world.hub.store.device(managed.device_id)
    keys = identity.authentication
    host = world.hub.host_name
    strings = {
        which: f"HostName={host};DeviceId={managed.device_id};SharedAccessKey={key}"
        for which, key in (("Primary", keys.primary_key), ("Secondary", keys.secondary_key))
    }
    assert await managed.secret() == {
        "connectionString": strings[key_in_use],
        "primaryConnectionString": strings["Primary"],
        "secondaryConnectionString": strings["Secondary"],
        "primaryKey": keys.primary_key,
        "secondaryKey": keys.secondary_key,
        "hostName": host,
        "deviceId": managed.device_id,
    }
    assert (identity.edge, identity.status) == (True, "enabled")
    assert settings_of(device).connection_string == strings[key_in_use]
    assert device.config_file.stat().st_mode & 0o7777 == (0o600 if device.config_file.suffix == ".toml" else 0o400)
    assert [module.name for module in device.modules] == ["edgeAgent"]
    shown = str(await managed.get()) + str(await world.events(managed.team.namespace))
    assert not [key for key in (keys.primary_key, keys.secondary_key) if key in shown]
    assert not re.search(r"SharedAccessKey=(?!\*\*\*)", shown)


def _merged(usual: Body, over: Mapping[str, Any]) -> Body:
    merged = copy.deepcopy(usual)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged
