"""What a namespace full of devices that hang costs another one. `make bench` runs it; it prints a table.

The operator runs as a process against the simulated API server, the hub emulator and simulated devices, all of it twice:
on one stage the victim is alone, on the other there is a namespace whose devices let the operator in and never answer.
The victim's devices are set up, looked at and repaired, on one stage and the other by turns, so that what else the machine
does falls on both.

    BENCH_HOSTILE_DEVICES   how many of those (500)
    BENCH_VICTIM_DEVICES    how many devices the victim has (12)
    BENCH_ROUNDS            how often they are set up and looked at (4)
    BENCH_PATIENCE          seconds after which a figure is taken for what it is by then (300)
    BENCH_JSON              a file for the figures and their targets
"""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import secrets
import sys
import tempfile
import time
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import asyncssh
from report import Target, percentile, table, write

from edgeherd.cluster.client import MERGE_PATCH, ApiClient, path
from edgeherd_sim.demo import scene, stage
from edgeherd_sim.demo.stage import Kubectl

HOSTILE_DEVICES = int(os.environ.get("BENCH_HOSTILE_DEVICES", "500"))
VICTIM_DEVICES = int(os.environ.get("BENCH_VICTIM_DEVICES", "12"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "4"))
PATIENCE = float(os.environ.get("BENCH_PATIENCE", "300"))
RATIO = 1.5
"""The victim may wait so many times as long as it would alone."""
MINIMUM = 60
"""The shortest spec.intervalSeconds."""

VICTIM, HOSTILE = "victim", "hostile"
WORKLOADS = ("apply to Ready", "asked for a look", "drift to repair")
Body = dict[str, Any]
Samples = dict[str, list[float]]


class Hanging(asyncssh.SSHServer):
    """Lets everybody in, and never answers a command."""

    connections: typing.ClassVar[set[asyncssh.SSHServerConnection]] = set()
    commands: typing.ClassVar[list[asyncssh.SSHServerProcess[bytes]]] = []
    """They are kept, or they would end for want of somebody who knows them."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """One more."""
        self._connection = conn
        self.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """One less."""
        del exc
        self.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        """No key is asked for."""
        del username
        return False


@contextlib.asynccontextmanager
async def hanging_server() -> AsyncIterator[Mapping[str, Any]]:
    """One server, which is all the hostile devices; its facts are those of a simulated device."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    options = {"server_host_keys": [key], "process_factory": Hanging.commands.append, "encoding": None}
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Hanging, backlog=1024, **options)
    try:
        host_key = key.export_public_key("openssh").decode().strip()
        yield {"host": "127.0.0.1", "port": server.get_port(), "user": "x", "hostKey": host_key}
    finally:
        server.close()


@dataclasses.dataclass(slots=True, kw_only=True)
class Bench:
    """The stage, and what is measured on it."""

    kubectl: Kubectl
    cluster: ApiClient
    devices: tuple[Mapping[str, Any], ...]
    waits: Samples = dataclasses.field(default_factory=dict)

    async def objects(self, namespace: str) -> dict[str, Body]:
        """The EdgeDevices of a namespace, by name."""
        listed = await self.cluster.request("GET", path("edgeherd.io", "v1alpha1", "edgedevices", namespace=namespace))
        return {item["metadata"]["name"]: item for item in listed["items"]}

    async def create(self, device: Mapping[str, Any]) -> None:
        """One EdgeDevice of the victim."""
        where = path("edgeherd.io", "v1alpha1", "edgedevices", namespace=VICTIM)
        body = manifest(VICTIM, device["name"], device, runtime={"hostname": "press"})
        await self.cluster.request("POST", where, body=body)

    async def annotate(self, device: Mapping[str, Any]) -> None:
        """Ask for a look."""
        where = path("edgeherd.io", "v1alpha1", "edgedevices", namespace=VICTIM, name=device["name"])
        body = {"metadata": {"annotations": {"reconcile.edgeherd.io/requestedAt": secrets.token_hex(6)}}}
        await self.cluster.request("PATCH", where, body=body, content_type=MERGE_PATCH)

    async def measure(
        self, what: str, begin: Callable[[Mapping[str, Any]], Awaitable[None]], done: Callable[[Body], bool]
    ) -> None:
        """Begin something with every device at once, and see how long each takes."""
        began: dict[str, float] = {}
        for device in self.devices:
            await begin(device)
            began[device["name"]] = time.monotonic()
        last = time.monotonic() + PATIENCE
        waits = self.waits.setdefault(what, [])
        while began:
            await asyncio.sleep(0.02)
            bodies, now = await self.objects(VICTIM), time.monotonic()
            for name in [name for name in began if done(bodies[name]) or now > last]:
                waits.append(now - began.pop(name))

    async def set_up(self) -> None:
        """From nothing to Ready, and a look that somebody asks for."""
        await self.measure(WORKLOADS[0], self.create, is_ready)
        await self.measure(WORKLOADS[1], self.annotate, was_looked_at)

    async def repair(self) -> None:
        """What somebody changes on the devices is found by the looks that nobody asks for, and put right."""
        files = {device["name"]: _config_file(device) for device in self.devices}
        await self.measure(
            WORKLOADS[2], _tamper, lambda body: b'"press"' in files[body["metadata"]["name"]].read_bytes()
        )

    async def remove(self) -> None:
        """Delete the victim's objects, and wait until they are gone."""
        await self.kubectl("delete", "edgedevices", "--all", "-n", VICTIM, "--wait=false")
        last = time.monotonic() + PATIENCE
        while await self.objects(VICTIM):
            if time.monotonic() > last:
                raise TimeoutError("The victim's devices are not deleted in time.")
            await asyncio.sleep(0.1)

    async def attack(self, server: Mapping[str, Any]) -> None:
        """Apply the hostile devices, and wait until the operator is as deep in them as it gets."""
        bodies = [manifest(HOSTILE, f"hang-{number:04}", server) for number in range(HOSTILE_DEVICES)]
        await self.kubectl.apply(*bodies)
        most, since = 0, time.monotonic()
        while time.monotonic() - since < 5:
            await asyncio.sleep(0.2)
            if len(Hanging.connections) > most:
                most, since = len(Hanging.connections), time.monotonic()
        print(f"{HOSTILE_DEVICES} hostile devices hold {most} sessions")  # noqa: T201 - progress


def manifest(namespace: str, name: str, device: Mapping[str, Any], **spec: Any) -> Body:
    """An EdgeDevice for what listens there."""
    ssh = {
        "host": device["host"],
        "port": device["port"],
        "user": device["user"],
        "credentialsSecretRef": {"name": "ssh"},
        "hostKeys": [device["hostKey"]],
    }
    return {
        "apiVersion": "edgeherd.io/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hubRef": {"name": "hub"}, "ssh": ssh, "intervalSeconds": MINIMUM, **spec},
    }


def is_ready(body: Body) -> bool:
    """Whether a device is Ready."""
    found = [c for c in body.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
    return bool(found) and found[0]["status"] == "True"


def was_looked_at(body: Body) -> bool:
    """Whether what was asked for was done."""
    asked = body["metadata"].get("annotations", {}).get("reconcile.edgeherd.io/requestedAt")
    return bool(asked == body.get("status", {}).get("lastHandledReconcileAt"))


def _config_file(device: Mapping[str, Any]) -> pathlib.Path:
    return pathlib.Path(device["root"], "etc", "iotedge", "config.yaml")


async def _tamper(device: Mapping[str, Any]) -> None:
    """Somebody edits the device's file; nobody tells the operator."""
    file = _config_file(device)
    content = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(content.replace(b'hostname: "press"', b'hostname: "theirs"'))
    file.chmod(0o400)


@contextlib.asynccontextmanager
async def opened(folder: pathlib.Path) -> AsyncIterator[Bench]:
    """A stage: everything runs, and the administrator and both teams have done their part."""
    await asyncio.to_thread(folder.mkdir)
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(stage.stand_in("hub", folder=folder))
        kube = await stack.enter_async_context(stage.stand_in("kube", folder=folder))
        trust = ("--hub-ca", str(hub.facts["caFile"]), "--hub-port", str(hub.facts["port"]), "--bind", "127.0.0.1")
        count = ("--count", str(VICTIM_DEVICES), "--watchdog", "0.3")
        fleet = await stack.enter_async_context(stage.stand_in("devices", *count, *trust, folder=folder))
        kubectl = Kubectl(kubeconfig=pathlib.Path(kube.facts["kubeconfig"]))
        await scene.install(kubectl)
        for namespace in (scene.OPERATOR_NAMESPACE, VICTIM, HOSTILE):
            await kubectl("create", "namespace", namespace)
        secret = str(hub.facts["connectionString"])
        await scene.put_hub_secret(kubectl, folder, secret, namespace=scene.OPERATOR_NAMESPACE, name="hub")
        key = await asyncio.to_thread(pathlib.Path(fleet.facts["privateKeyFile"]).read_bytes)
        for namespace in (VICTIM, HOSTILE):
            await scene.put_ssh_secret(kubectl, folder, key, namespace=namespace, name="ssh")
        await kubectl.apply(_hub_connection(hub.facts))
        environment = scene.operator_environment(kubectl.kubeconfig, hub.facts)
        await stack.enter_async_context(stage.operator(environment, folder=folder))
        cluster = await stack.enter_async_context(await ApiClient.configured(str(kubectl.kubeconfig)))
        yield Bench(kubectl=kubectl, cluster=cluster, devices=tuple(fleet.facts["devices"]))


def _hub_connection(hub: Mapping[str, Any]) -> Body:
    spec = {
        "hostName": hub["hostName"],
        "port": hub["port"],
        "auth": {"connectionStringSecretRef": {"name": "hub"}},
        "allowedNamespaces": {"from": "All"},
        "allowedCIDRs": ["127.0.0.0/8"],
        "budget": {"registryOperationsPerMinute": 10000},
    }
    return {"apiVersion": "edgeherd.io/v1alpha1", "kind": "HubConnection", "metadata": {"name": "hub"}, "spec": spec}


async def main() -> bool:
    """Measure, alone and beside the hostile namespace; whether all targets are met."""
    with tempfile.TemporaryDirectory(prefix="edgeherd-bench-") as name:
        folder = pathlib.Path(name)
        async with hanging_server() as server, opened(folder / "a") as quiet, opened(folder / "b") as attacked:
            await attacked.attack(server)
            repairs = []
            for number in range(ROUNDS):
                for bench in (quiet, attacked) if number % 2 else (attacked, quiet):
                    if number:
                        await bench.remove()
                    await bench.set_up()
                    if number == ROUNDS - 1:
                        # At once, so that the next look is as far away on both.
                        repairs.append(asyncio.create_task(bench.repair()))
            await asyncio.gather(*repairs)
            alone, beside = quiet.waits, attacked.waits
    rows = [("the victim's seconds", "samples", "p50 alone", "p50 beside", "p99 alone", "p99 beside", "ratio")]
    targets = []
    for what in WORKLOADS:
        medians = [percentile(samples[what], 50) for samples in (alone, beside)]
        worst = [percentile(samples[what], 99) for samples in (alone, beside)]
        ratio = worst[1] / worst[0]
        cells = (f"{value:.2f}" for value in (*medians, *worst, ratio))
        rows.append((what, str(len(beside[what])), *cells))
        targets.append(Target(name=f"isolation: {what}, p99 beside / alone", value=ratio, target=RATIO))
    load = "load of the machine: " + " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{table(rows)}\n{load}, {os.cpu_count()} cores\n")  # noqa: T201 - what it is for
    write(targets)
    return all(target.met for target in targets)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
