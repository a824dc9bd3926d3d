"""Deployments reach simulated devices: edgeAgent runs the modules, and reports what became of it."""

import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from device_lab import AZIOT, PACE, configure, restart, status_of

from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import https_hub
from edgeherd_sim.devices.server import Fleet, serve
from edgeherd_sim.hub import layers, metrics, query
from edgeherd_sim.hub.model import Configuration
from edgeherd_sim.hub.server import Hub
from edgeherd_sim.hub.server import serve as serve_hub
from waiting import until

AGENT_IMAGE = "mcr.microsoft.com/azureiotedge-agent:1.5"
HUB_IMAGE = "mcr.microsoft.com/azureiotedge-hub:1.5"


def docker(image: str, **more: Any) -> dict[str, Any]:
    """A module as a deployment describes it."""
    return {"type": "docker", "settings": {"image": image}, **more}


def agent(schema: str = "1.1", **modules: Any) -> dict[str, Any]:
    """The desired properties of `$edgeAgent`."""
    return {
        "schemaVersion": schema,
        "runtime": {"type": "docker", "settings": {}},
        "systemModules": {"edgeAgent": docker(AGENT_IMAGE), "edgeHub": docker(HUB_IMAGE)},
        "modules": modules,
    }


def put(hub: Hub, desired: dict[str, Any], *, name: str = "line", priority: int = 1) -> None:
    """Write a deployment to all edge devices, behind HTTP's back."""
    body = {"content": {"modulesContent": {"$edgeAgent": {"properties.desired": desired}}}}
    at = hub.store.at()
    hub.store.keep_configuration(
        Configuration(
            id=name,
            revision=hub.store.next_revision(),
            created=at,
            updated=at,
            body={**body, "targetCondition": "*", "priority": priority},
        )
    )


def counts(hub: Hub, name: str = "line") -> list[int | None]:
    """Applied, failed, successful, targeted."""
    queries = metrics.system(layers.EDGE, hub.store.configurations[name])
    return [query.count(text, hub.index) for _, text in sorted(queries.items())]


def said(hub: Hub, device: str = "press-01") -> tuple[int, str] | None:
    """What edgeAgent reports of the newest desired properties."""
    twin = hub.store.twins[device, "$edgeAgent"]
    if twin.reported.value.get("lastDesiredVersion") != twin.desired.version:
        return None
    status = twin.reported.value["lastDesiredStatus"]
    return status["code"], status["description"]


@contextlib.asynccontextmanager
async def _stage(count: int = 1, version: str = AZIOT) -> AsyncIterator[tuple[Hub, Fleet]]:
    """A hub and devices that are connected to it."""
    async with (
        serve_hub() as hub,
        https_hub(ca_file=pathlib.Path(hub.ca_file), port=hub.port) as door,
        serve(hub=door, pace=PACE, runtime_version=version, count=count) as fleet,
    ):
        for device in fleet.devices:
            hub.store.put_device(device.name, {"capabilities": {"iotEdge": True}}, None)
            await provision(hub, device)
        yield hub, fleet


async def provision(hub: Hub, device: Device) -> None:
    """Give a device its connection string."""
    key = hub.store.device(device.name).authentication.primary_key
    configure(device, connection_string=f"HostName=localhost;DeviceId={device.name};SharedAccessKey={key}")
    await restart(device)


async def test_modules_come_and_go() -> None:
    """A device that has nothing yet says so; then it follows its deployments, and reports each whole."""
    async with _stage() as (hub, fleet):
        device = fleet.devices[0]
        await until(lambda: said(hub) is not None)
        empty = said(hub)
        put(hub, agent(vision=docker("vision:1"), sound=docker("sound:1", status="stopped")))
        await until(lambda: said(hub) == (200, ""))
        first = {module.name: module.image for module in device.modules}
        put(hub, agent(light=docker("light:1"), vision=docker("vision:2")), name="newer", priority=2)
        await until(lambda: "light" in hub.store.twins["press-01", "$edgeAgent"].reported.value.get("modules", {}))
        reported = hub.store.twins["press-01", "$edgeAgent"].reported.value
        version = hub.store.twins["press-01", "$edgeAgent"].desired.version
    edge_agent = first.pop("edgeAgent")
    assert empty == (
        417,
        "This device has an empty configuration for the edge agent. Please set a deployment manifest.",
    )
    assert first == {"edgeHub": HUB_IMAGE, "vision": "vision:1"}

    def running(image: str) -> dict[str, Any]:
        return {"type": "docker", "runtimeStatus": "running", "exitCode": 0, "settings": {"image": image}}

    assert reported == {
        "schemaVersion": "1.1",
        "version": {"version": AZIOT},
        "lastDesiredVersion": version,
        "lastDesiredStatus": {"code": 200, "description": ""},
        "runtime": {"type": "docker", "platform": {"os": "linux", "architecture": "x86_64"}},
        "systemModules": {"edgeAgent": running(edge_agent), "edgeHub": running(HUB_IMAGE)},
        "modules": {"light": running("light:1"), "vision": running("vision:2")},
    }


BAD: dict[str, tuple[dict[str, Any], tuple[int, str]]] = {
    "a schema of the future": (
        agent("2.0"),
        (412, "The desired properties schema version 2.0 is not compatible with the expected version 1.1"),
    ),
    "a schema that is none": (agent("one"), (412, "Invalid desired properties schema version one")),
    "no runtime": (
        {name: value for name, value in agent().items() if name != "runtime"},
        (400, "Agent configuration format is invalid."),
    ),
    "a module without an image": (agent(vision={"type": "docker"}), (400, "Agent configuration format is invalid.")),
}


@pytest.mark.parametrize("name", BAD)
async def test_deployments_that_cannot_be_carried_out(name: str) -> None:
    """EdgeAgent keeps what runs, and reports the trouble in its own words."""
    desired, expected = BAD[name]
    async with _stage() as (hub, fleet):
        put(hub, agent(vision=docker("vision:1")))
        await until(lambda: said(hub) == (200, ""))
        before = status_of(fleet.devices[0])
        put(hub, desired, name="bad", priority=2)
        await until(lambda: said(hub) not in {None, (200, "")})
        assert (said(hub), status_of(fleet.devices[0])) == (expected, before)


async def test_the_counts_move() -> None:
    """Of two devices one cannot pull the images; a stopped one says nothing of a newer version."""
    async with _stage(2) as (hub, fleet):
        good, bad = fleet.devices
        bad.faults.module_image_pull_fails()
        put(hub, agent(vision=docker("vision:1")))
        await until(lambda: counts(hub) == [2, 1, 1, 2])
        await good.daemon.systemctl("stop")
        await until(lambda: not hub.store.get((good.name, "$edgeAgent")).connected)
        put(hub, agent(vision=docker("vision:2")))
        await until(lambda: counts(hub) == [2, 1, 0, 2])
        bad.faults.clear()
        await good.daemon.systemctl("start")
        await bad.daemon.systemctl("restart")
        await until(lambda: counts(hub) == [2, 0, 2, 2])


async def test_containers_that_were_removed_come_back() -> None:
    """The daemon of 1.1 removes all containers when its settings change; edgeAgent makes them anew."""
    async with _stage(version="1.1.15") as (hub, fleet):
        device = fleet.devices[0]
        put(hub, agent(vision=docker("vision:1")))
        await until(lambda: said(hub) == (200, ""))
        hub.store.rotate((device.name, ""))
        await provision(hub, device)
        await until(
            lambda: sorted(status_of(device)) == [(name, "running") for name in ("edgeAgent", "edgeHub", "vision")]
        )
