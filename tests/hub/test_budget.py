"""The budget of a hub: who is admitted, and in which order."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from edgeherd.hub.budget import MOST_WAITING, RESERVED, Budget
from edgeherd.hub.port import BusyError, ThrottledError


async def used_up(operations: int = 600) -> Budget:
    """So many requests a minute, all of which are gone."""
    budget = Budget(operations, at_once=8)
    for _ in range(operations):
        async with budget.admitted("x", write=False):
            pass
    return budget


async def admitted(budget: Budget, *requests: tuple[str, bool]) -> list[tuple[str, bool]]:
    """The order in which requests of (namespace, write) that came at the same time are let in."""
    order: list[tuple[str, bool]] = []

    async def one(tenant: str, write: bool) -> None:
        async with budget.admitted(tenant, write=write):
            order.append((tenant, write))

    async with asyncio.timeout(20):
        await asyncio.gather(*(one(*request) for request in requests))
    return order


READ, WRITE = False, True


@pytest.mark.parametrize(
    ("requests", "order"),
    [
        ([("a", READ), ("a", WRITE)], [("a", WRITE), ("a", READ)]),
        (
            [("a", READ), ("a", READ), ("a", READ), ("b", READ)],
            [("a", READ), ("b", READ), ("a", READ), ("a", READ)],
        ),
        (
            [("a", WRITE), ("a", WRITE), ("b", WRITE), ("c", READ)],
            [("a", WRITE), ("b", WRITE), ("c", READ), ("a", WRITE)],
        ),
    ],
    ids=[
        "writes of a namespace come before its reads",
        "a namespace with many does not hold up another",
        "writes of one namespace do not come before reads of another",
    ],
)
async def test_the_order_of_those_who_wait(requests: list[tuple[str, bool]], order: list[tuple[str, bool]]) -> None:
    """Nothing is lost."""
    assert await admitted(await used_up(), *requests) == order


async def waiting(budget: Budget, *tenants: str) -> list[asyncio.Task[object]]:
    """Requests that wait for their turn; those that were sent away are not among them."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(admitted(budget, (name, READ))) for name in tenants]
    for _ in range(10):
        await asyncio.sleep(0)
    return [task for task in tasks if not task.done() or not isinstance(task.exception(), BusyError)]


async def given_up(tasks: Sequence[asyncio.Task[object]]) -> None:
    """Nobody waits any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_too_many_are_sent_away_with_a_time() -> None:
    """A busy hub must not hold every worker."""
    budget = await used_up(operations=1)
    in_line = await waiting(budget, *(str(number) for number in range(MOST_WAITING)))
    with pytest.raises(BusyError) as caught:
        await admitted(budget, ("late", READ))
    assert (len(in_line), caught.value.retry_after) == (MOST_WAITING, MOST_WAITING * 60)
    await given_up(in_line)


async def test_no_namespace_fills_the_line() -> None:
    """One that asks for all places gets a half of them; the next one gets a half of the rest, the third too."""
    budget = await used_up(operations=1)
    in_line = [await waiting(budget, *([name] * MOST_WAITING)) for name in ("first", "second", "third")]
    assert [len(tasks) for tasks in in_line] == [8, 4, 2]
    await given_up(list(itertools.chain(*in_line)))


async def test_a_hub_that_hangs_keeps_few() -> None:
    """Those under way count as well, and more than may be at once are not let in, however much budget there is."""
    budget, inside, release = Budget(600, at_once=2), [0], asyncio.Event()

    async def one() -> None:
        async with budget.admitted("a", write=READ):
            inside[0] += 1
            await release.wait()

    calls = [asyncio.create_task(one()) for _ in range(RESERVED)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert inside == [2]
    with pytest.raises(BusyError):
        await admitted(budget, ("a", READ))
    calls[0].cancel()  # one that is inside
    calls[-1].cancel()  # one that waits
    release.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert inside == [RESERVED - 1]
    assert await admitted(budget, ("b", READ), ("b", WRITE)) == [("b", WRITE), ("b", READ)]


async def test_who_gives_up_loses_nobody_s_turn() -> None:
    """The next one is let in instead."""
    budget = await used_up()
    first = asyncio.create_task(admitted(budget, ("a", READ)))
    await asyncio.sleep(0)
    first.cancel()
    assert await admitted(budget, ("b", READ)) == [("b", READ)]


@pytest.mark.usefixtures("stopped_clock")
async def test_a_429_closes_the_door_for_longer_each_time() -> None:
    """Until the hub serves somebody."""
    budget = Budget(600, at_once=8)
    pauses = []
    for _ in range(4):
        budget.throttled()
        with pytest.raises(ThrottledError) as caught:
            await admitted(budget, ("a", READ))
        pauses.append(caught.value.retry_after)
    budget.served()
    budget.throttled()
    with pytest.raises(ThrottledError) as caught:
        await admitted(budget, ("a", READ))
    assert (pauses, caught.value.retry_after) == ([10, 20, 40, 60], 10)


async def test_what_is_left_is_told() -> None:
    """As many as would be let through at once; none while the hub wants to be left alone."""
    budget = Budget(30, at_once=8)
    left = [budget.remaining]
    for _ in range(10):
        async with budget.admitted("x", write=False):
            pass
    left.append(budget.remaining)
    budget.throttled()
    left.append(budget.remaining)
    assert left == [30, 20, 0]
