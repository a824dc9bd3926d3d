"""The operator may be killed at any moment: started again, it comes to the same end."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from world import Managed, World, assert_whole, is_ready

from edgeherd_sim.devices.device import Device
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

Moment = Callable[[World, Managed, Device], bool]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A moment at which SIGKILL comes."""

    sentence: str
    come: Moment
    fault: str = ""
    """A fault of the hub that holds the moment open."""


def _identity_exists(world: World, managed: Managed, device: Device) -> bool:
    del device
    return managed.device_id in {identity.device_id for identity in world.hub.store.devices()}


def _hub_was_asked(world: World, managed: Managed, device: Device) -> bool:
    del device
    return any(managed.device_id in entry.path for entry in world.hub.requests)


def _daemon_restarts(world: World, managed: Managed, device: Device) -> bool:
    del world, managed
    return device.restarts > 0


def _file_was_written(world: World, managed: Managed, device: Device) -> bool:
    del world
    return managed.device_id.encode() in device.config_file.read_bytes()


CASES = (
    Case(sentence="while the hub is asked for the first time", come=_hub_was_asked),
    Case(sentence="while the answer to the creation is on its way", come=_identity_exists, fault="latency"),
    Case(sentence="when the creation was carried out and its answer lost", come=_identity_exists, fault="drop-after-commit"),
    Case(sentence="when the identity is there", come=_identity_exists),
    Case(sentence="when the file was written", come=_file_was_written),
    Case(sentence="when the daemon was restarted", come=_daemon_restarts),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
async def test_a_killed_operator_comes_to_the_same_end(world: World, case: Case) -> None:
    """One identity with the keys of the Secret, one restart, a file that is whole, nothing left behind."""
    async with world.team() as team:
        device = world.device()
        manifest = team.manifest(device)
        if case.fault:
            world.hub.faults.add(case.fault, count=1, method="PUT", path=manifest["spec"]["deviceId"], delay=3.0)
        managed = await team.apply(manifest)
        await until(lambda: case.come(world, managed, device), every=0.002)
        await world.kill_operator()
        created = [entry for entry in world.hub.requests if entry.method == "PUT" and managed.device_id in entry.path]
        assert len(created) <= 1
        await world.start_operator()
        await managed.until(is_ready)
        await assert_whole(managed, device)
        assert device.restarts == 1
        assert [file.name for file in device.config_file.parent.iterdir() if file.name.startswith(".edgeherd")] == []


async def test_a_deletion_goes_on_after_a_kill(world: World) -> None:
    """The finalizer holds the object until the identity is gone."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        world.hub.faults.add("latency", count=1, method="DELETE", path=managed.device_id, delay=3.0)
        await managed.delete()
        await until(
            lambda: (
                any(e.method == "DELETE" and managed.device_id in e.path for e in world.hub.requests)
                or not _identity_exists(world, managed, device)
            ),
            every=0.002,
        )
        await world.kill_operator()
        await world.start_operator()
        await managed.until_gone()
        assert not _identity_exists(world, managed, device)


async def test_a_restarted_operator_leaves_healthy_devices_as_they_are(world: World) -> None:
    """SIGTERM and a new start: nothing is written to hub, Secret or file."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        before, content = await managed.get(), device.config_file.read_bytes()
        await world.stop_operator()
        world.hub.requests.clear()
        await world.start_operator()
        after = await managed.look_now()
        assert before is not None
        assert {entry.method for entry in world.hub.requests if managed.device_id in entry.path} <= {"GET"}
        assert after["status"]["conditions"] == before["status"]["conditions"]
        assert (device.config_file.read_bytes(), device.restarts) == (content, 1)


async def test_sigterm_ends_the_operator_soon(world: World) -> None:
    """With status 0, well within a Pod's grace period."""
    assert world.operator is not None
    async with asyncio.timeout(15):
        assert await world.operator.stop() == 0
    await world.stop_operator()
    await world.start_operator()
