"""A pass that may not write any more: it ends at once, and nothing of it is told as a trouble of the device."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from memory_lab import ID, Lab

from edgeherd.cluster.port import Cluster
from edgeherd.device.port import Session
from edgeherd.fence import NotLeadingError
from edgeherd.hub.port import Hub
from fences import TestFence
from ports import writes

Write = Callable[..., Awaitable[Any]]


def fenced(write: Write, fence: TestFence) -> Write:
    """The write, as an adapter does it."""

    async def checked(*arguments: Any, **named: Any) -> Any:
        fence.check()
        return await write(*arguments, **named)

    return checked


def put_up(lab: Lab, fence: TestFence) -> None:
    """From now on every write of cluster, hub and device passes the fence, or does not."""
    for port, behind in ((Cluster, lab.cluster), (Hub, lab.hub), (Session, lab.memory)):
        for name in writes(port):
            setattr(behind, name, fenced(getattr(behind, name), fence))


async def passes(lab: Lab) -> None:
    """Pass after pass, until all is well."""
    await lab.until_ready()


async def deletes(lab: Lab) -> None:
    """From well to gone."""
    lab.cluster.delete_device("plant-a", ID)
    await lab.reconcile(after=1)


async def _counted(work: Callable[[Lab], Awaitable[None]], lab: Lab) -> int:
    fence = TestFence(passes=1000)
    put_up(lab, fence)
    await work(lab)
    return fence.asked


@pytest.mark.parametrize("work", [passes, deletes], ids=["on the way to health", "while it is deleted"])
async def test_whichever_write_does_not_pass_ends_the_pass(
    work: Callable[[Lab], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody takes it for an answer of the hub, a broken connection or a bug, and no other write is tried with success."""

    async def prepared() -> Lab:
        lab = Lab()
        if work is deletes:
            await lab.until_ready()
        return lab

    total = await _counted(work, await prepared())
    assert total > 3
    for number in range(total):
        lab = await prepared()
        put_up(lab, TestFence(passes=number))
        with caplog.at_level(logging.INFO), pytest.raises(NotLeadingError):
            await work(lab)
        assert not [told for told in lab.told.values() if "InternalError" in told]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
