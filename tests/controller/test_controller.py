"""When passes begin, what becomes of their results, and how all of it ends."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

import processes
from edgeherd.cluster.errors import ApiError
from edgeherd.controller.controller import Controller, Kind
from edgeherd.controller.workqueue import Capacity, WorkQueue
from edgeherd.model import Key, Priority
from edgeherd.reconcile.requeue import Gone, Requeue
from waiting import until

ONE, TWO = Key("EdgeDevice", "plant-a", "one"), Key("EdgeDevice", "plant-a", "two")


class Feed:
    """A source that says when it has listed, and fails when it is told to."""

    def __init__(self) -> None:
        self.listed = asyncio.Event()
        self.failure: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()

    async def run(self) -> NoReturn:
        """See `controller.Feed`."""
        await self.failure
        raise AssertionError


@dataclasses.dataclass(slots=True)
class World:
    """A controller, and what it does."""

    queue: WorkQueue = dataclasses.field(default_factory=lambda: WorkQueue(Capacity(workers=2)))
    feed: Feed = dataclasses.field(default_factory=Feed)
    stop: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    begun: list[Key] = dataclasses.field(default_factory=list)
    forgotten: list[Key] = dataclasses.field(default_factory=list)
    results: dict[Key, Requeue | Gone | None] = dataclasses.field(default_factory=dict)
    hold: asyncio.Event | None = None
    """A pass goes on until this is set."""

    async def reconcile(self, key: Key) -> Requeue | Gone | None:
        """A pass."""
        self.begun.append(key)
        if self.hold is not None:
            await self.hold.wait()
        return self.results.get(key)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The controller; it has ended after the block."""
        kinds = {"EdgeDevice": Kind(reconcile=self.reconcile, forget=self.forgotten.append)}
        task = asyncio.create_task(Controller(self.queue, kinds, workers=2).run(self.feed, self.stop))
        try:
            yield task
        finally:
            self.stop.set()
            await asyncio.gather(task, return_exceptions=True)


async def test_no_pass_begins_before_both_kinds_were_listed() -> None:
    """Whoever comes first in a list must not take what an older one has."""
    world = World()
    async with world.running():
        world.queue.add(ONE)
        for _ in range(10):
            await asyncio.sleep(0)
        assert world.begun == []
        world.feed.listed.set()
        await until(lambda: world.begun == [ONE])


async def test_an_object_that_is_gone_is_forgotten() -> None:
    """One that only rests is not."""
    world = World()
    world.results = {ONE: Gone(), TWO: None}
    world.feed.listed.set()
    async with world.running():
        for key in (ONE, TWO):
            world.queue.add(key)
        await until(lambda: len(world.begun) == 2)
    assert world.forgotten == [ONE]


async def test_what_is_due_again_is_looked_at_again() -> None:
    """When it says."""
    world = World()
    world.results = {ONE: Requeue(0.0, Priority.DRIFT)}
    world.feed.listed.set()
    async with world.running():
        world.queue.add(ONE)
        await until(lambda: len(world.begun) > 2)


@pytest.mark.parametrize("listed", [False, True], ids=["before it has listed", "while passes are possible"])
async def test_what_ends_the_feed_ends_the_controller(listed: bool) -> None:
    """Whoever runs it hears why."""
    world = World()
    if listed:
        world.feed.listed.set()
    async with world.running() as task:
        await asyncio.sleep(0)
        world.feed.failure.set_exception(ApiError(401, "Unauthorized"))
        with pytest.raises(ApiError, match="401: Unauthorized"):
            await task


async def test_passes_at_work_come_to_their_end() -> None:
    """And none begins after the stop."""
    world = World(hold=asyncio.Event())
    world.feed.listed.set()
    async with world.running() as task:
        world.queue.add(ONE)
        await until(lambda: world.begun == [ONE])
        world.stop.set()
        world.queue.add(TWO)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        assert world.hold is not None
        world.hold.set()
        await task
    assert world.begun == [ONE]


STOPPING = """
import asyncio, sys
from edgeherd.controller.controller import stop_on_signal

async def main():
    stop = stop_on_signal()
    print("ready", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await asyncio.sleep(3600 if sys.argv[1] == "hangs" else 0)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_process_well_and_a_second_one_at_once(number: signal.Signals) -> None:
    """The status of the second is a shell's for that signal."""
    for behaviour, status in (("ends", 0), ("hangs", 128 + number)):
        with processes.running([sys.executable, "-c", STOPPING, behaviour], env=dict(os.environ)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.stdout.readline() == "stopping\n"
            if behaviour == "hangs":
                process.send_signal(number)
            assert process.wait(processes.SECONDS) == status
