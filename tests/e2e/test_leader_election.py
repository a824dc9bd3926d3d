"""Two operators: one leads and one stands by, takes over when it must, and whoever led before writes nothing any more."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import pathlib
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from world import Team, World, assert_whole, because, is_ready, settings_of, until

from edgeherd.clock import Clock, since_boot
from edgeherd.cluster.client import MERGE_PATCH, path
from edgeherd.cluster.errors import ApiError
from edgeherd.cluster.lease import LEADING_SECONDS, LEASE_NAME, Candidate, KubernetesLease
from edgeherd.fence import LeaseFence
from edgeherd_sim.demo import scene
from edgeherd_sim.demo.stage import Running
from edgeherd_sim.devices.device import Device

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

LEADS = "watches EdgeDevices"
STANDS_BY = "this operator stands by"
OPERATOR = ("-m", "edgeherd", "run")
UNAWARE = (str(pathlib.Path(__file__).with_name("unaware_operator.py")),)
TAKE_OVER_SECONDS = 60.0
"""Patience, not a promise: the machine may be busy. How long it takes is in the log of the test."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True, kw_only=True)
class Replica:
    """One of the operators."""

    running: Running

    @property
    def log(self) -> str:
        """What it said."""
        return self.running.log.read_text(errors="replace")

    async def until_it_says(self, words: str) -> float:
        """Wait for it; how many seconds that took."""
        began = time.monotonic()
        await until(lambda: words in self.log, every=0.02, patience=TAKE_OVER_SECONDS)
        return time.monotonic() - began

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self.running.process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended; its exit status."""
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            return await self.running.process.wait()

    def connections(self) -> set[str]:
        """The addresses, as /proc/net/tcp has them, of the other ends of its TCP connections."""
        folder = pathlib.Path(f"/proc/{self.running.process.pid}/fd")
        links = [str(link.readlink()) for link in folder.iterdir()]
        own = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
        rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        return {row[2] for row in rows if row[9] in own}


@dataclasses.dataclass(slots=True, kw_only=True)
class Replicas:
    """Starts operators that elect a leader among them."""

    world: World
    stack: contextlib.AsyncExitStack

    async def start(self, name: str, *, ready: str, program: Sequence[str] = OPERATOR) -> Replica:
        """Start one; it is ready when it says so."""
        kubeconfig, hub = self.world.kubectl.kubeconfig, self.world.hub.facts()
        settings = scene.operator_environment(kubeconfig, hub, namespace=self.world.namespace)
        folder = self.world.folder / name
        folder.mkdir()
        log = folder / "operator.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program,
                stderr=stream,
                env={**os.environ, **settings, "EDGEHERD_LEADER_ELECTION": "true"},
            )
        replica = Replica(running=Running(name=name, process=process, log=log, facts={}))
        self.stack.push_async_callback(self._end, replica)
        await replica.until_it_says(ready)
        return replica

    async def _end(self, replica: Replica) -> None:
        with contextlib.suppress(ProcessLookupError):
            replica.send(signal.SIGCONT)
        await replica.running.stop(kill=True)
        assert not dataclasses.replace(self.world, folder=replica.running.log.parent).leaks()

    async def pair(self, name: str, *, program: Sequence[str] = OPERATOR) -> tuple[Replica, Replica]:
        """One that leads, and one that stands by."""
        leader = await self.start(f"{name}-a", ready=LEADS, program=program)
        return leader, await self.start(f"{name}-b", ready=STANDS_BY)


def lease_path(world: World) -> str:
    """Where the Lease is."""
    return path("coordination.k8s.io", "v1", "leases", namespace=world.namespace, name=LEASE_NAME)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def without_operator(world: World) -> AsyncIterator[World]:
    """The operator of the other tests would do the work of ours."""
    await world.stop_operator()
    yield world
    await world.start_operator()


@pytest_asyncio.fixture(loop_scope="session")
async def replicas(without_operator: World) -> AsyncIterator[Replicas]:
    """They end with the test, and their Lease."""
    try:
        async with contextlib.AsyncExitStack() as stack:
            yield Replicas(world=without_operator, stack=stack)
    finally:
        with contextlib.suppress(ApiError):
            await without_operator.cluster.request("DELETE", lease_path(without_operator))


async def lease_of(world: World) -> dict[str, Any]:
    """What the Lease says."""
    spec: dict[str, Any] = (await world.cluster.request("GET", lease_path(world)))["spec"]
    return spec


async def test_the_standby_takes_over_from_a_leader_that_was_killed(world: World, replicas: Replicas) -> None:
    """It holds nothing but its connection to the API server until then; a device at rest is not touched."""
    leader, standby = await replicas.pair("killed")
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        assert len(standby.connections()) == 1
        before = await lease_of(world)
        leader.send(signal.SIGKILL)
        seconds = await standby.until_it_says(LEADS)
        _log.warning("take-over after SIGKILL: %.1f s", seconds)
        after = await lease_of(world)
        assert after["leaseTransitions"] == before["leaseTransitions"] + 1
        assert after["holderIdentity"] != before["holderIdentity"]
        await managed.look_now()
        assert device.restarts == 1
        await managed.patch(runtime={"hostname": "renamed"})
        await managed.until(is_ready)
        await assert_whole(managed, device)
        assert (device.restarts, settings_of(device).hostname) == (2, "renamed")


async def test_a_leader_that_is_stopped_makes_room_at_once(world: World, replicas: Replicas) -> None:
    """It releases the Lease when its passes have ended, and ends with 0. So does a standby that is stopped."""
    leader, standby = await replicas.pair("stopped")
    idle = await replicas.start("stopped-c", ready=STANDS_BY)
    idle.send(signal.SIGTERM)
    assert await idle.ended() == 0
    began = time.monotonic()
    leader.send(signal.SIGTERM)
    await leader.until_it_says("the Lease was released")
    released = time.monotonic()
    await standby.until_it_says(LEADS)
    _log.warning(
        "take-over %.1f s after SIGTERM, %.1f s after the release",
        time.monotonic() - began,
        time.monotonic() - released,
    )
    assert await leader.ended() == 0
    assert "Traceback" not in leader.log + idle.log
    standby.send(signal.SIGTERM)
    assert await standby.ended() == 0
    assert (await lease_of(world))["holderIdentity"] == ""


async def test_a_leader_that_was_frozen_writes_nothing(world: World, replicas: Replicas) -> None:
    """Though it does not hear that it lost the Lease: it was about to write to the cluster, to the hub and to a device."""
    leader, standby = await replicas.pair("frozen", program=UNAWARE)
    async with world.team() as team:
        to_cluster, to_hub, to_device = world.device(), world.device(), world.device()
        in_hub, on_device = await team.ready(to_hub), await team.ready(to_device)
        for device in (to_cluster, to_hub, to_device):
            _count_changes(device)
        # Each of its passes is held up before a write: on the device while it looks, in the hub for what it asks.
        looking = _hold_up(to_device, "stat")
        await on_device.patch(runtime={"hostname": "first"})
        await until(looking.exists)
        world.hub.faults.add("latency", count=1, method="GET", path=in_hub.device_id, delay=2.0)
        await in_hub.patch(identity={"status": "Disabled"})
        await until(lambda: world.hub.faults.listed() == [])
        new = team.manifest(to_cluster)
        world.hub.faults.add("latency", count=1, method="PUT", path=new["spec"]["deviceId"], delay=2.0)
        created = await team.apply(new)
        await until(lambda: world.hub.faults.listed() == [], every=0.002)
        leader.send(signal.SIGSTOP)
        _log.warning("take-over after SIGSTOP: %.1f s", await standby.until_it_says(LEADS))
        _let_go_on(looking)
        await created.until(is_ready)
        await on_device.until(is_ready)
        await in_hub.until(because("IdentityDisabled"))
        # From now on nobody but the one that wakes up could do anything.
        standby.send(signal.SIGSTOP)
        for managed in (created, in_hub, on_device):
            await managed.patch(runtime={"hostname": "second"})
        before = await _everything(world, team)
        leader.send(signal.SIGCONT)
        assert await leader.ended() == 1
        assert await _everything(world, team) == before
        assert "another operator may lead by now" in leader.log
        assert "the Lease is lost: it could not be renewed for 10 s." in leader.log
        assert "a bug ended the pass" not in leader.log


async def _everything(world: World, team: Team) -> dict[str, Any]:
    """All that an operator could change: the objects, what the hub was asked to do, the devices' files."""
    kinds = [("edgeherd.io", "v1alpha1", "edgedevices"), ("", "v1", "secrets"), ("", "v1", "events")]
    found: dict[str, Any] = {}
    for group, version, plural in kinds:
        listed = await world.cluster.request("GET", path(group, version, plural, namespace=team.namespace))
        found |= {
            f"{plural} {body['metadata']['name']}": body["metadata"]["resourceVersion"] for body in listed["items"]
        }
    for device in team.devices:
        file = device.config_file
        changes = (device.root / "changes").read_text()
        found[device.name] = (changes, file.read_bytes(), file.stat().st_mtime_ns, device.restarts, device.modules)
    found["hub"] = [(entry.method, entry.path) for entry in world.hub.requests if entry.method != "GET"]
    return found


async def test_what_a_dead_leader_began_on_a_device_is_not_begun_again(world: World, replicas: Replicas) -> None:
    """Its script goes on there: a file that is right already and a daemon that is just stopping get no second restart."""
    leader, standby = await replicas.pair("restart")
    async with world.team() as team:
        device = world.device()
        managed = await team.apply(team.manifest(device))
        restarting = _hold_up(device, "systemctl", "restart")
        await until(restarting.exists)
        leader.send(signal.SIGKILL)
        # Nobody need wait for the Lease to run out.
        empty = {"spec": {"holderIdentity": ""}}
        await world.cluster.request("PATCH", lease_path(world), body=empty, content_type=MERGE_PATCH)
        await standby.until_it_says(LEADS)
        changing = await managed.until(lambda body: _reason(body) == "ConfigChanging")
        assert device.restarts == 0, changing
        _let_go_on(restarting)
        await managed.until(is_ready)
        await assert_whole(managed, device)
        assert device.restarts == 1


def _reason(body: dict[str, Any]) -> str:
    return next((c["reason"] for c in body.get("status", {}).get("conditions", []) if c["type"] == "ConfigApplied"), "")


def _count_changes(device: Device) -> None:
    """Every script that is to change something asks for the lock first."""
    (device.root / "changes").touch()
    _wrap(device, "flock", 'echo change >> "$0.d/../../../changes"')


def _hold_up(device: Device, program: str, verb: str = "") -> pathlib.Path:
    """The program waits, with that verb, until it is let go on; the file that is there from when it first does."""
    folder = _wrap(device, program, f'[ "{verb}" ] && [ "$1" != "{verb}" ] || {{ touch "$0.d/waits"; {_WAIT}; }}')
    return folder / "waits"


_WAIT = 'while [ ! -e "$0.d/go-on" ]; do sleep 0.05; done'


def _let_go_on(waits: pathlib.Path) -> None:
    (waits.parent / "go-on").touch()


def _wrap(device: Device, program: str, first: str) -> pathlib.Path:
    """Something is done before each call of a program on the device; a folder for that."""
    wrapper = device.root / "usr/bin" / program
    folder = wrapper.with_name(f"{program}.d")
    folder.mkdir()
    search = os.pathsep.join([str(wrapper.parent), os.environ["PATH"]])
    found = shutil.which(program, path=search)
    assert found is not None
    (folder / program).symlink_to(pathlib.Path(found).resolve())
    wrapper.unlink(missing_ok=True)
    wrapper.write_text(f'#!/bin/sh\n{first}\nexec "$0.d/{program}" "$@"\n')
    wrapper.chmod(0o755)
    return folder


async def test_of_many_that_want_to_lead_one_does(world: World) -> None:
    """On the API server itself: when there is no Lease yet, and when it was released."""
    leases = KubernetesLease(world.cluster, namespace=world.namespace, name="contested")

    async def leaders() -> int:
        tried = asyncio.Barrier(8)
        found = 0

        async def stand(name: str) -> None:
            candidate = Candidate(
                leases, LeaseFence(LEADING_SECONDS), Clock(monotonic=since_boot), identity=f"{name}-{time.time_ns()}"
            )

            async def pause(_: float) -> bool:
                nonlocal found
                found += candidate.is_leading
                await tried.wait()
                return True

            await candidate.campaign(pause)

        await asyncio.gather(*(stand(f"candidate-{number}") for number in range(tried.parties)))
        return found

    assert [await leaders() for _ in range(3)] == [1, 1, 1]
    spec = (await leases.read() or {})["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("", 2)


async def test_the_lease_as_the_server_stores_it(world: World) -> None:
    """Times with a fraction at whole seconds too, and a Lease that is deleted under its holder is made anew."""
    leases = KubernetesLease(world.cluster, namespace=world.namespace, name="alone")
    clock = Clock(wall=lambda: 1_767_225_600.0, monotonic=since_boot)
    candidate = Candidate(leases, LeaseFence(LEADING_SECONDS), clock, identity="me")
    seen: list[dict[str, Any] | None] = []

    async def pause(_: float) -> bool:
        body = await leases.read()
        seen.append(body and body["spec"])
        if len(seen) == 1:
            where = path("coordination.k8s.io", "v1", "leases", namespace=world.namespace, name="alone")
            await world.cluster.request("DELETE", where)
        return len(seen) == 3

    await candidate.campaign(pause)
    began = "2026-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": began, "renewTime": began}
    assert seen == [{**spec, "leaseTransitions": 0}] * 3
