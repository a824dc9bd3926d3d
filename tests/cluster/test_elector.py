"""The election beside the main loop: who waits for it, what ends with it, and what is left when nothing ends."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from lease_lab import OTHER, US, Server, held

from edgeherd.cluster import elector, lease
from edgeherd.cluster.elector import Elector, NoElection
from edgeherd.cluster.errors import ApiError
from edgeherd.cluster.lease import LeaseLostError, Leases
from edgeherd.fence import NotLeadingError

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once, and nobody waits long for an end."""
    for name in ("RENEW_SECONDS", "RETRY_SECONDS", "STANDBY_SECONDS"):
        monkeypatch.setattr(lease, name, 0.01)
    monkeypatch.setattr(elector, "END_SECONDS", 0.05)


def opened(server: Server) -> Callable[[], AbstractAsyncContextManager[Leases]]:
    """How the Lease is opened, in the thread that uses it."""

    @contextlib.asynccontextmanager
    async def open_it() -> AsyncIterator[Leases]:
        assert threading.current_thread() is not threading.main_thread()
        yield server

    return open_it


def an_elector(server: Server, end: Callable[[], object] = lambda: None) -> Elector:
    """One that runs for the Lease in memory."""
    return Elector(opened(server), identity=US, end=end)


def holder(server: Server) -> str:
    """Who holds the Lease."""
    assert server.lease is not None
    return str(server.lease["spec"]["holderIdentity"])


async def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be in time"
        await asyncio.sleep(0.005)


async def test_it_leads_and_lets_go() -> None:
    """The fence is open from when it leads until the block ends; then the Lease is free for the next one."""
    server = Server()
    async with an_elector(server) as leadership:
        assert await leadership.acquired(asyncio.Event())
        async with leadership.held():
            leadership.fence.check()
            assert (leadership.is_leading, leadership.transitions, holder(server)) == (True, 0, US)
    assert (leadership.is_leading, holder(server)) == (False, "")
    with pytest.raises(NotLeadingError):
        leadership.fence.check()


async def test_it_waits_for_another_one_to_let_go() -> None:
    """Neither leads the one who waits, nor passes the fence anything."""
    server = Server()
    server.put(held())
    async with an_elector(server) as leadership:
        waiting = asyncio.create_task(leadership.acquired(asyncio.Event()))
        await until(lambda: leadership.transitions == 4)
        assert (leadership.is_leading, waiting.done()) == (False, False)
        with pytest.raises(NotLeadingError):
            leadership.fence.check()
        server.put(held(""))
        assert await waiting
        assert leadership.transitions == 5


async def test_who_stands_by_can_be_stopped() -> None:
    """And leaves the Lease as it is."""
    server, stop = Server(), asyncio.Event()
    server.put(held())
    async with an_elector(server) as leadership:
        waiting = asyncio.create_task(leadership.acquired(stop))
        await until(lambda: leadership.transitions == 4)
        stop.set()
        assert not await waiting
    assert (server.writes, holder(server)) == ([], OTHER)


async def lead(
    server: Server, work: Callable[[Elector], Awaitable[object]], end: Callable[[], object] = lambda: None
) -> None:
    """Lead, and do that work."""
    async with an_elector(server, end) as leadership:
        await leadership.acquired(asyncio.Event())
        async with leadership.held():
            await work(leadership)


async def test_what_is_for_the_leader_ends_with_the_lease(caplog: pytest.LogCaptureFixture) -> None:
    """It is cancelled, and may clean up; but nothing that it does then passes the fence."""
    server = Server()
    found = []

    async def work(leadership: Elector) -> None:
        server.put(held())
        try:
            await asyncio.Event().wait()
        finally:
            found.append(leadership.fence.seconds_left)

    with pytest.raises(LeaseLostError):
        await lead(server, work)
    assert (found, holder(server)) == ([0], OTHER)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told == [
        "the Lease is lost: it is held by 'edgeherd-b'. Another operator may lead by now, so this one ends."
    ]


async def test_a_main_loop_that_hangs_is_no_way_to_go_on() -> None:
    """The process is ended by the thread."""
    server, ended = Server(), threading.Event()

    async def hang(_: Elector) -> None:
        server.put(held())
        assert ended.wait(PATIENCE)
        await asyncio.Event().wait()

    with pytest.raises(LeaseLostError):
        await lead(server, hang, ended.set)


async def test_what_swallows_its_cancellation_does_not_end_well() -> None:
    """The block ended, but not because it was done."""
    server = Server()

    async def go_on(_: Elector) -> None:
        server.put(held())
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    with pytest.raises(LeaseLostError):
        await lead(server, go_on)


async def test_a_lease_that_is_lost_before_the_block_begins() -> None:
    """The block ends where it first waits."""
    server = Server()
    async with an_elector(server) as leadership:
        await leadership.acquired(asyncio.Event())
        server.put(held())
        await until(lambda: not leadership.is_leading)
        with pytest.raises(LeaseLostError):
            async with leadership.held():
                await asyncio.Event().wait()
        with pytest.raises(LeaseLostError):
            await leadership.acquired(asyncio.Event())


async def test_somebody_elses_cancellation_stays_one() -> None:
    """It has nothing to do with the Lease, which is released."""
    server = Server()
    task = asyncio.create_task(lead(server, lambda _: asyncio.Event().wait()))
    await until(lambda: server.lease is not None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert holder(server) == ""


async def test_what_goes_wrong_in_the_block_releases_the_lease() -> None:
    """An operator that cannot work makes room for one that may."""
    server = Server()

    async def fail(_: Elector) -> None:
        raise ApiError(500, "boom")

    with pytest.raises(ApiError, match="boom"):
        await lead(server, fail)
    assert holder(server) == ""


async def test_a_lease_that_cannot_be_opened_is_the_start_that_fails() -> None:
    """As a kubeconfig that is not there."""

    @contextlib.asynccontextmanager
    async def nothing() -> AsyncIterator[Leases]:
        raise ApiError(0, "No usable Kubernetes configuration")
        yield

    with pytest.raises(ApiError, match="No usable Kubernetes configuration"):
        async with Elector(nothing, identity=US):
            pytest.fail("it began all the same")


async def test_without_an_election_there_is_nothing_to_wait_for() -> None:
    """One process leads, unless it is told to stop first."""
    stop = asyncio.Event()
    async with NoElection() as leadership:
        assert await leadership.acquired(stop)
        async with leadership.held():
            leadership.fence.check()
        stop.set()
        assert not await leadership.acquired(stop)
        assert (leadership.is_leading, leadership.transitions) == (True, 0)


def test_an_identity_names_the_pod_and_is_never_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that is started anew in its Pod is another process."""
    monkeypatch.setattr("socket.gethostname", lambda: "edgeherd-6d5f")
    first, second = elector.own_identity(), elector.own_identity()
    assert first.startswith("edgeherd-6d5f_")
    assert first != second
