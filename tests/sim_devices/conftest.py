"""A fleet of simulated devices whose hub does what the test says."""

from collections.abc import AsyncIterator

import pytest
from device_lab import AZIOT, PACE, ScriptedHub, apply, configure, provision, restart, status_of

from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.server import Fleet, serve
from waiting import until


@pytest.fixture
def hub() -> ScriptedHub:
    """The hub of the fleet."""
    return ScriptedHub()


@pytest.fixture
async def fleet(hub: ScriptedHub) -> AsyncIterator[Fleet]:
    """One device, booted: its daemon has already refused the template's placeholder."""
    async with serve(count=1, hub=hub, pace=PACE) as running:
        await until(lambda: running.devices[0].daemon.unit.active == "failed")
        yield running


@pytest.fixture
def device(fleet: Fleet) -> Device:
    """The first device."""
    return fleet.devices[0]


@pytest.fixture
async def healthy(device: Device) -> Device:
    """A device whose edgeAgent runs; nobody asked for a restart yet."""
    provision(device)
    await device.daemon.systemctl("restart")
    await until(lambda: any(module.status == "running" for module in device.modules))
    device.daemon.starts = 0
    return device


@pytest.fixture
async def aziot(hub: ScriptedHub) -> AsyncIterator[Device]:
    """A device of 1.5, booted: its daemon found no configuration."""
    async with serve(count=1, hub=hub, pace=PACE, runtime_version=AZIOT) as running:
        await until(lambda: running.devices[0].daemon.unit.active == "failed")
        yield running.devices[0]


@pytest.fixture
async def applied(aziot: Device) -> Device:
    """The same, whose edgeAgent runs; nobody asked for a restart yet."""
    configure(aziot)
    await apply(aziot)
    await until(lambda: status_of(aziot) == [("edgeAgent", "running")])
    aziot.daemon.starts = 0
    return aziot


@pytest.fixture(params=["1.1.15", AZIOT])
async def fresh(request: pytest.FixtureRequest, hub: ScriptedHub) -> AsyncIterator[Device]:
    """A device of either generation with good settings, which nobody started with yet."""
    async with serve(hub=hub, pace=PACE, runtime_version=request.param) as fleet:
        device = fleet.devices[0]
        await until(lambda: device.daemon.unit.active == "failed")
        configure(device)
        yield device


@pytest.fixture
async def running(fresh: Device) -> Device:
    """The same, whose edgeAgent runs."""
    await restart(fresh)
    await until(lambda: status_of(fresh) == [("edgeAgent", "running")])
    return fresh
