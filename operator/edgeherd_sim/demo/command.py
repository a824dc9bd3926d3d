"""`edgeherd demo`: from nothing to three healthy devices, then two failures and their repair."""

import asyncio
import contextlib
import dataclasses
import http
import pathlib
import signal
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.live import Live

from edgeherd import config
from edgeherd_sim.demo import picture, scene, stage
from edgeherd_sim.demo.stage import Kubectl, Running, StageError
from edgeherd_sim.hub import sas

CONFIG = "etc/iotedge/config.yaml"
PATIENCE_SECONDS = 90.0

Bodies = Sequence[Mapping[str, Any]]


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
def command(*, keep: bool) -> None:
    """Show the whole product on this machine, with stand-ins for hub, devices and cluster.

    Starts an IoT Hub emulator, a Kubernetes API simulator, three simulated devices and the operator; applies the
    manifests of manifests/samples; breaks two things and waits until they are repaired. Exits with 0 only if all of
    it happened.
    """
    console = Console(highlight=False)
    demo = _Demo(console)
    try:
        asyncio.run(demo.run(keep=keep))
    except (StageError, FileNotFoundError) as exc:
        console.print(f"[bold red]The demo failed:[/] {exc}", soft_wrap=True)
        raise SystemExit(1) from None
    except asyncio.CancelledError:
        raise SystemExit(0 if keep else 128 + demo.ended_by) from None


@dataclasses.dataclass(slots=True)
class _Demo:
    console: Console
    ended_by: int = 0
    """The number of the signal that ended it."""

    async def run(self, *, keep: bool) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run made it

        def end(number: int) -> None:
            self.ended_by = number
            task.cancel()  # everything that was started is stopped on the way out

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, end, number)
        async with contextlib.AsyncExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeherd-demo-")))
            self._title("Start an IoT Hub emulator, a Kubernetes API simulator and three devices")
            hub, kube = await asyncio.gather(
                stack.enter_async_context(stage.stand_in("hub", folder=folder)),
                stack.enter_async_context(stage.stand_in("kube", folder=folder)),
            )
            trust = ("--hub-ca", str(hub.facts["caFile"]), "--hub-port", str(hub.facts["port"]))
            fleet = await stack.enter_async_context(
                stage.stand_in("devices", "--count", "3", "--watchdog", "1", *trust, folder=folder)
            )
            kubectl = Kubectl(kubeconfig=pathlib.Path(kube.facts["kubeconfig"]))
            devices = fleet.facts["devices"]
            originals = {device["name"]: _config_of(device) for device in devices}
            await self._install(kubectl, hub, fleet, folder)
            environment = scene.operator_environment(kubectl.kubeconfig, hub.facts)
            operator = await stack.enter_async_context(stage.operator(environment, folder=folder))
            await self._create(kubectl, hub, devices, folder)
            await self._look(kubectl, devices, originals)
            await self._break_and_repair(kubectl, hub, devices)
            self._title(f"Done. The operator used {operator.resident_kib / 1024:.0f} MiB.")
            if keep:
                self.console.print("All of it goes on running until Ctrl-C. In another terminal:\n")
                self.console.print(f"  export KUBECONFIG={kubectl.kubeconfig}", soft_wrap=True)
                self.console.print(f"  export REQUESTS_CA_BUNDLE={hub.facts['caFile']}", soft_wrap=True)
                self.console.print("  kubectl get edgedevices -A")
                self.console.print("  edgeherd hub devices --hub contoso\n")
                self.console.print(
                    f"The devices' files are in {pathlib.Path(devices[0]['root']).parent}.", soft_wrap=True
                )
                await operator.process.wait()

    async def _install(self, kubectl: Kubectl, hub: Running, fleet: Running, folder: pathlib.Path) -> None:
        await scene.install(kubectl)
        for namespace in (scene.OPERATOR_NAMESPACE, scene.TEAM_NAMESPACE):
            await kubectl("create", "namespace", namespace)
        secret = {"namespace": scene.OPERATOR_NAMESPACE, "name": "contoso-hub"}
        await scene.put_hub_secret(kubectl, folder, hub.facts["connectionString"], **secret)
        private_key = await asyncio.to_thread(pathlib.Path(fleet.facts["privateKeyFile"]).read_bytes)
        secret = {"namespace": scene.TEAM_NAMESPACE, "name": "plant-a-ssh"}
        await scene.put_ssh_secret(kubectl, folder, private_key, **secret)

    async def _create(self, kubectl: Kubectl, hub: Running, devices: Bodies, folder: pathlib.Path) -> None:
        samples = scene.write_samples(folder, hub.facts, devices)
        self._title("Apply manifests/samples: one EdgeDevice for each device")
        self.console.print(f"$ kubectl apply -k {samples.name}")
        self.console.print(await kubectl("apply", "-k", str(samples)), end="")
        await self._watch(kubectl, "From nothing to healthy", _all_ready)

    async def _look(self, kubectl: Kubectl, devices: Bodies, originals: Mapping[str, bytes]) -> None:
        namespace = ("-n", scene.TEAM_NAMESPACE)
        self._title("What a user would check")
        self.console.print("$ kubectl get edgedevices -n plant-a")
        self.console.print(await kubectl("get", "edgedevices", *namespace), end="", soft_wrap=True)
        secret = await kubectl.get("secret", "press-01-connection", *namespace)
        self.console.print("\nThe keys of Secret press-01-connection, without their values:")
        self.console.print("  " + ", ".join(sorted(secret["data"])))
        device = devices[0]
        diff = config.masked_diff(originals[device["name"]], _config_of(device), name="config.yaml")
        self.console.print(f"\nWhat changed in /etc/iotedge/config.yaml of {device['name']}, secrets masked:")
        for line in diff.splitlines():
            self.console.print(picture.diff_line(line), soft_wrap=True)

    async def _break_and_repair(self, kubectl: Kubectl, hub: Running, devices: Bodies) -> None:
        self._title("Break two things")
        first, second = devices[0], devices[1]
        before = {device["name"]: _config_of(device) for device in devices}
        _write_config(first, before[first["name"]].replace(b'\nhostname: "', b'\nhostname: "not-'))
        self.console.print(f"somebody edits hostname in the file of {first['name']}")
        await _delete_identity(hub, second["name"])
        self.console.print(f"somebody deletes the identity of {second['name']} in the hub")
        at = str(time.time())
        for device in (first, second):
            # Without it the operator would see it at its next look, which is every 15 minutes by default.
            annotation = f"reconcile.edgeherd.io/requestedAt={at}"
            await kubectl("annotate", "edgedevice", device["name"], annotation, "-n", scene.TEAM_NAMESPACE)

        def repaired(bodies: Bodies) -> bool:
            handled = sum(body.get("status", {}).get("lastHandledReconcileAt") == at for body in bodies)
            return handled == 2 and _all_ready(bodies) and _config_of(first) == before[first["name"]]

        await self._watch(kubectl, "Repaired", repaired)
        if not await _has_identity(hub, second["name"]):
            raise StageError("The deleted identity did not come back.")
        if _config_of(second) != before[second["name"]]:
            raise StageError(f"The file of {second['name']} was touched, though its keys are the same.")
        reasons = ("ConfigDriftCorrected", "IdentityRecreated")
        events = await kubectl.get("events", "-n", scene.TEAM_NAMESPACE)
        said = {event["reason"]: event["message"] for event in events["items"]}
        for reason in reasons:
            self.console.print(f"{reason}: {said[reason]}", soft_wrap=True)

    async def _watch(self, kubectl: Kubectl, title: str, done: Callable[[Bodies], bool]) -> None:
        """Draw the fleet until `done` says so.

        Raises:
            StageError: it took too long.
        """
        start = time.monotonic()
        with Live(console=self.console, auto_refresh=False) as live:
            while True:
                found = (await kubectl.get("edgedevices", "-n", scene.TEAM_NAMESPACE))["items"]
                seconds = time.monotonic() - start
                live.update(picture.fleet(found, title=title, seconds=seconds), refresh=True)
                if done(found):
                    break
                if seconds > PATIENCE_SECONDS:
                    raise StageError(f"'{title}' was not there after {seconds:.0f} s.")
                await asyncio.sleep(0.3)
        self.console.print()

    def _title(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/]")


def _all_ready(bodies: Bodies) -> bool:
    return bool(bodies) and all(picture.is_ready(body) for body in bodies)


def _config_of(device: Mapping[str, Any]) -> bytes:
    return (pathlib.Path(device["root"]) / CONFIG).read_bytes()


def _write_config(device: Mapping[str, Any], content: bytes) -> None:
    """As root with an editor would: the file is read-only even to its owner."""
    file = pathlib.Path(device["root"]) / CONFIG
    mode = file.stat().st_mode
    file.chmod(0o600)
    file.write_bytes(content)
    file.chmod(mode)


async def _delete_identity(hub: Running, device_id: str) -> None:
    """Delete an identity as somebody in the portal would: behind the operator's back.

    Raises:
        StageError: the emulator did not.
    """
    status = await _ask(hub, "DELETE", f"/$sim/devices/{device_id}")
    if status != http.HTTPStatus.NO_CONTENT:
        raise StageError(f"The identity of {device_id} could not be deleted: the emulator answered {status}.")


async def _has_identity(hub: Running, device_id: str) -> bool:
    """Whether the hub has the identity, asked as any other service would."""
    policy = dict(part.split("=", 1) for part in hub.facts["connectionString"].split(";"))
    authorization = sas.make(
        policy["HostName"],
        policy["SharedAccessKey"],
        policy=policy["SharedAccessKeyName"],
        expiry=int(time.time()) + 60,
    )
    status = await _ask(hub, "GET", f"/devices/{device_id}?api-version=2021-04-12", Authorization=authorization)
    return status == http.HTTPStatus.OK


async def _ask(hub: Running, method: str, target: str, **headers: str) -> int:
    """One request to the emulator. Returns the status of its answer."""
    trust = ssl.create_default_context(cafile=str(hub.facts["caFile"]))
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{hub.facts['url']}{target}", ssl=trust, headers=headers) as response,
    ):
        return response.status
