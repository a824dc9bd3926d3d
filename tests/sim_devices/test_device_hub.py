"""What the hub emulator sees of a device: its edgeAgent connects as the module $edgeAgent."""

import asyncio
import contextlib
import dataclasses
import pathlib
from collections.abc import AsyncIterator, Callable

import pytest
from device_lab import AZIOT, PACE, ScriptedHub, apply, certificate, configure, restart, status_of

from edgeherd import config
from edgeherd_sim.devices.behavior import Pace
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import https_hub
from edgeherd_sim.devices.server import serve
from edgeherd_sim.hub.server import Hub
from edgeherd_sim.hub.server import serve as serve_hub
from waiting import until

RUNNING = [("edgeAgent", "running")]
AGENT = ("press-01", "$edgeAgent")


@contextlib.asynccontextmanager
async def _stage(version: str, *, pace: Pace = PACE, idle_after: float = 300) -> AsyncIterator[tuple[Hub, Device]]:
    """A hub that knows the device, and the device with nothing in its settings yet."""
    async with (
        serve_hub(idle_after=idle_after) as hub,
        https_hub(ca_file=pathlib.Path(hub.ca_file), port=hub.port) as door,
        serve(hub=door, pace=pace, runtime_version=version) as fleet,
    ):
        hub.store.put_device("press-01", {"deviceId": "press-01", "capabilities": {"iotEdge": True}}, None)
        yield hub, fleet.devices[0]


async def _provision(hub: Hub, device: Device) -> None:
    key = hub.store.device("press-01").authentication.primary_key
    string = f"HostName=localhost;DeviceId=press-01;SharedAccessKey={key}"
    configure(device, connection_string=string)
    await restart(device)


def _connected(hub: Hub) -> bool:
    return hub.store.get(AGENT).connected


@pytest.mark.parametrize("version", ["1.1.15", AZIOT])
async def test_edge_agent_is_connected_while_it_runs(version: str) -> None:
    """From its start to the end of its container, and again after the next start."""
    async with _stage(version) as (hub, device):
        assert not _connected(hub)
        await _provision(hub, device)
        await until(lambda: _connected(hub))
        assert status_of(device) == RUNNING
        await device.daemon.systemctl("stop")
        await until(lambda: not _connected(hub))
        await device.daemon.systemctl("start")
        await until(lambda: _connected(hub))
        device.faults.engine_down()
        await until(lambda: not _connected(hub))
        device.faults.clear()
        await until(lambda: _connected(hub))


class _Interrupted(ScriptedHub):
    """Something happens on the device while its edgeAgent connects for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None
        self.connections = 0

    async def agent_connects(self, identity: config.ConnectionString | config.X509) -> bool:
        """See `hubdoor.AgentHub`."""
        del identity
        if self.meanwhile is not None:
            self.meanwhile()
        self.meanwhile = None
        self.connections += 1
        return True

    async def agent_leaves(self, host_name: str, device_id: str) -> None:
        """See `hubdoor.AgentHub`."""


async def test_an_engine_that_fails_while_edge_agent_connects() -> None:
    """It comes back as after any other failure of the engine."""
    hub = _Interrupted()
    async with serve(hub=hub, pace=PACE, runtime_version=AZIOT) as fleet:
        device = fleet.devices[0]
        configure(device)
        hub.meanwhile = device.faults.engine_down
        await restart(device)
        await until(lambda: hub.connections == 1)
        device.faults.clear()
        await until(lambda: hub.connections == 2)
        assert status_of(device) == RUNNING


@pytest.mark.parametrize("version", ["1.1.15", AZIOT])
async def test_a_rotated_key_shows_at_the_hub_alone(version: str) -> None:
    """The old container is started again and runs; the hub refuses it, and nothing on the device says so."""
    async with _stage(version) as (hub, device):
        await _provision(hub, device)
        await until(lambda: _connected(hub))
        hub.store.rotate(("press-01", ""))
        await device.daemon.systemctl("restart")
        await until(lambda: device.daemon.settings is not None and status_of(device) == RUNNING)
        await until(lambda: not _connected(hub))
        await asyncio.sleep(0.2)
        assert not _connected(hub)
        await _provision(hub, device)
        await until(lambda: _connected(hub))


async def test_edge_agent_shows_itself_again_and_again() -> None:
    """A hub takes those for gone that it has not heard of for long."""
    pace = dataclasses.replace(PACE, heartbeat=0.1)
    async with _stage(AZIOT, pace=pace, idle_after=0.6) as (hub, device):
        await _provision(hub, device)
        for _ in range(5):
            seen = hub.store.get(AGENT).last_activity
            await until(lambda seen=seen: hub.store.get(AGENT).last_activity != seen)  # type: ignore[misc]
            assert _connected(hub)
        device.faults.no_network()
        await until(lambda: not _connected(hub))
        assert status_of(device) == RUNNING


async def test_a_device_with_a_certificate_connects_too() -> None:
    """The emulator is told behind its back, for it asks for no certificate in TLS."""
    async with _stage(AZIOT) as (hub, device):
        key, pem, thumbprint = certificate()
        authentication = {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": thumbprint}}
        body = {"deviceId": "press-01", "capabilities": {"iotEdge": True}, "authentication": authentication}
        hub.store.remove("press-01")
        hub.store.put_device("press-01", body, None)
        where = {"identity_cert": "file:///etc/d.pem", "identity_pk": "file:///etc/d.key"}
        (device.root / "etc/d.pem").write_bytes(pem)
        (device.root / "etc/d.key").write_bytes(key)
        x509 = config.X509(iothub_hostname="localhost", device_id="press-01", **where)
        configure(device, connection_string=None, x509=x509)
        await apply(device)
        await until(lambda: _connected(hub))
