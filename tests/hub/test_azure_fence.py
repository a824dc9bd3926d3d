"""Every write to the hub passes the fence right before its bytes leave, in the thread that sends them."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from hub_lab import KEYS, OTHER_KEYS, Lab

from edgeherd.fence import NotLeadingError
from edgeherd.hub.azure import THREADS, AzureHub
from edgeherd.hub.port import Hub, Identity, Owner
from fences import TestFence
from ports import READS, writes

CALLS: dict[str, Callable[[AzureHub, Identity], Awaitable[object]]] = {
    "agent_connected": lambda hub, _: hub.agent_connected("d"),
    "create": lambda hub, _: hub.create("new", KEYS, enabled=True),
    "delete": lambda hub, known: hub.delete(known),
    "edge_devices": lambda hub, _: hub.edge_devices(),
    "get": lambda hub, _: hub.get("d"),
    "mark": lambda hub, _: hub.mark("d", Owner(uid="u", namespace="n", name="d"), etag="*"),
    "probe": lambda hub, _: hub.probe(),
    "twin": lambda hub, _: hub.twin("d"),
    "update": lambda hub, known: hub.update(known, enabled=False, credentials=OTHER_KEYS),
}


async def a_device(lab: Lab) -> Identity:
    """An identity that is there already; what was asked for it is forgotten."""
    known = await lab.open(policy="iothubowner").create("d", KEYS, enabled=True)
    lab.hub.requests.clear()
    return known


@pytest.mark.parametrize("name", writes(Hub))
async def test_no_write_passes_a_closed_fence(lab: Lab, name: str) -> None:
    """Nothing reaches the hub, and its budget is free again; with an open fence it is done."""
    known = await a_device(lab)
    for _ in range(THREADS + 1):
        with pytest.raises(NotLeadingError):
            await CALLS[name](lab.open(policy="iothubowner", fence=TestFence()), known)
    assert lab.asked == []
    await CALLS[name](lab.open(policy="iothubowner", fence=TestFence(passes=9)), known)
    assert {method for method, _, _ in lab.asked} & {"PUT", "PATCH", "DELETE"}


@pytest.mark.parametrize("name", sorted(READS[Hub]))
async def test_reads_are_free(lab: Lab, name: str) -> None:
    """Nobody asks the fence for them, queries among them, which are a POST."""
    known, fence = await a_device(lab), TestFence()
    await CALLS[name](lab.open(policy="iothubowner", fence=fence), known)
    assert (fence.asked, {method for method, _, _ in lab.asked} <= {"GET", "POST"}) == (0, True)
    assert lab.asked


class Closing(TestFence):
    """Remembers which threads asked."""

    def __init__(self) -> None:
        super().__init__(passes=9)
        self.threads: set[threading.Thread] = set()

    def check(self) -> None:
        """See `Fence`."""
        self.threads.add(threading.current_thread())
        super().check()


async def test_a_write_that_waits_for_its_turn_asks_when_it_has_it(lab: Lab) -> None:
    """All places are taken by reads that hang; when they are through, somebody else leads."""
    known, fence = await a_device(lab), Closing()
    hub = lab.open(policy="iothubowner", fence=fence)
    lab.hub.faults.add("latency", count=THREADS, method="GET", delay=0.5)
    reads = [asyncio.create_task(hub.get("d")) for _ in range(THREADS)]
    while lab.hub.faults.listed():  # noqa: ASYNC110 - a poll of what the hub has got
        await asyncio.sleep(0.01)
    write = asyncio.create_task(hub.delete(known))
    await asyncio.sleep(0)
    assert fence.asked == 0
    fence.passes = 0
    with pytest.raises(NotLeadingError):
        await write
    assert await asyncio.gather(*reads) == [known] * THREADS
    assert {method for method, _, _ in lab.asked} == {"GET"}
    assert fence.threads
    assert threading.main_thread() not in fence.threads
