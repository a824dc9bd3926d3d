"""The work queue: one key at most once, never twice at the same time, what matters first."""

import asyncio
import collections
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeherd.controller import workqueue
from edgeherd.controller.workqueue import Capacity, Priority, QueueState, WorkQueue
from edgeherd.model import Key


def key(name: str) -> Key:
    """A device's key."""
    return Key("EdgeDevice", "plant-a", name)


async def drained(queue: WorkQueue) -> list[str]:
    """The names of all keys that are due now, in their order."""
    names = []
    while len(queue):
        taken = await queue.get()
        queue.done(taken)
        names.append(taken.name)
    return names


async def test_deletions_come_before_changes_and_those_before_drift() -> None:
    """Within one priority the first in is the first out."""
    queue = WorkQueue()
    for name, priority in (
        ("d1", Priority.DRIFT),
        ("c1", Priority.CHANGE),
        ("x1", Priority.DELETE),
        ("c2", Priority.CHANGE),
    ):
        queue.add(key(name), priority)
    assert await drained(queue) == ["x1", "c1", "c2", "d1"]


async def test_a_key_that_waits_is_not_queued_again() -> None:
    """Ten events of one object lead to one pass."""
    queue = WorkQueue()
    for _ in range(10):
        queue.add(key("a"))
    assert await drained(queue) == ["a"]


async def test_a_key_that_waits_moves_up_when_it_matters_more() -> None:
    """And is still worked on once."""
    queue = WorkQueue()
    queue.add(key("late"), Priority.DRIFT)
    queue.add(key("other"), Priority.CHANGE)
    queue.add(key("late"), Priority.DELETE)
    assert await drained(queue) == ["late", "other"]


async def test_what_arrives_during_a_pass_leads_to_one_more() -> None:
    """The key is not given to a second worker meanwhile."""
    queue = WorkQueue()
    queue.add(key("a"))
    assert await queue.get() == key("a")
    queue.add(key("a"))
    queue.add(key("a"))
    assert len(queue) == 0
    queue.done(key("a"))
    assert await drained(queue) == ["a"]


async def test_a_later_date_wakes_a_waiting_worker() -> None:
    """Of two dates the earlier one counts."""
    queue = WorkQueue()
    queue.add_after(key("a"), 30)
    queue.add_after(key("a"), 0.01)
    assert await asyncio.wait_for(queue.get(), 5) == key("a")
    queue.done(key("a"))
    assert len(queue) == 0


async def test_a_later_date_is_dropped_when_the_key_is_added_now() -> None:
    """So a change does not lead to a second pass when the date comes."""
    queue = WorkQueue()
    queue.add_after(key("a"), 0.01)
    queue.add(key("a"))
    assert await drained(queue) == ["a"]
    await asyncio.sleep(0.05)
    queue.add(key("b"))
    assert await drained(queue) == ["b"]


async def test_failures_back_off_up_to_a_limit_and_are_forgiven() -> None:
    """1, 2, 4 ... seconds, each shortened by up to a half so that a fleet does not come back as one."""
    queue = WorkQueue()
    delays = [queue.add_rate_limited(key("a")) for _ in range(12)]
    bounds = [min(workqueue.LONGEST_DELAY, workqueue.FIRST_DELAY * 2**n) for n in range(12)]
    assert all(bound / 2 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))
    queue.forget(key("a"))
    assert queue.add_rate_limited(key("a")) <= workqueue.FIRST_DELAY


async def test_idle_means_that_no_pass_is_at_work() -> None:
    """It is what a stop waits for."""
    queue = WorkQueue()
    queue.add(key("a"))
    await queue.get()
    waiting = asyncio.create_task(queue.idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done(key("a"))
    await asyncio.wait_for(waiting, 5)


class Workers:
    """Workers whose passes hang or end at once, as their namespaces say."""

    def __init__(self, queue: WorkQueue, count: int) -> None:
        self.queue = queue
        self.hanging: list[Key] = []
        self.passes: collections.Counter[str] = collections.Counter()
        self._end = asyncio.Event()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(count)]

    async def _work(self) -> None:
        while True:
            taken = await self.queue.get()
            self.passes[taken.namespace] += 1
            if taken.namespace.startswith("hostile"):
                self.hanging.append(taken)
                await self._end.wait()
                self.hanging.remove(taken)
                self.queue.remember_slow(taken)
            self.queue.done(taken)

    async def settle(self) -> None:
        """Let all happen that can: every pass that can begin has begun, and those that do not hang have ended."""
        for _ in range(1000):
            await asyncio.sleep(0)

    async def end_passes(self) -> None:
        """Those that hang end, as after a time-out; others may begin."""
        self._end.set()
        self._end = asyncio.Event()
        await self.settle()

    async def stop(self) -> None:
        """The end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_a_victim_has_its_passes_at_once_beside_500_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their first round, when nobody can know that they hang, and in each one after it."""
    monkeypatch.setattr(workqueue, "YOUNG_SECONDS", 0)
    queue = WorkQueue()
    workers = Workers(queue, Capacity().passes)
    hostile = [Key("EdgeDevice", "hostile", str(number)) for number in range(500)]
    for device in hostile:
        queue.add(device)
    await workers.settle()
    seen = []
    for _ in range(14):
        workers.passes.clear()
        for number in range(20):
            queue.add(Key("EdgeDevice", "victim", str(number)), Priority.DRIFT)
        await workers.settle()
        seen.append((len(workers.hanging), workers.passes["victim"]))
        await workers.end_passes()
        for device in hostile:
            queue.add(device)
        await workers.settle()
    await workers.stop()
    assert [passes for _, passes in seen] == [20] * 14
    assert [seen[0][0], seen[-1][0]] == [48, 12], "known to hang, all of them together have some of the slow places"


async def test_who_answers_in_time_again_has_its_usual_place_again() -> None:
    """What is slow waits for the slow; one that was forgiven does not."""
    queue = WorkQueue(Capacity(workers=2, reserved_workers=0, slow_workers=1, per_jump_host=1))
    slow, other, forgiven = key("slow"), key("other"), key("forgiven")
    for device in (slow, other, forgiven):
        queue.add(device)
        await queue.get()
        queue.remember_slow(device)
        if device is forgiven:
            queue.forget(device)
        queue.done(device)
        queue.add(device)
    assert [await queue.get(), await queue.get()] == [forgiven, slow]
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done(), "there is one slow place"
    queue.done(slow)
    assert await asyncio.wait_for(waiting, 5) == other


async def test_devices_behind_one_jump_host_wait_for_each_other() -> None:
    """When it is taken out of the spec, they do not any more."""
    queue = WorkQueue(Capacity(workers=9, reserved_workers=0, slow_workers=1, per_jump_host=1))
    for name in "abc":
        queue.put_behind(key(name), "jump:22")
    queue.put_behind(key("c"), "")
    for name in "abc":
        queue.add(key(name))
    assert [await queue.get(), await queue.get()] == [key("a"), key("c")]
    assert len(queue) == 1
    queue.done(key("a"))
    assert await queue.get() == key("b")


async def test_one_pass_that_ends_can_make_room_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace that holds less need leave less: both workers that wait are woken."""
    monkeypatch.setattr(workqueue, "YOUNG_SECONDS", 0)
    queue = WorkQueue(Capacity(workers=3, reserved_workers=1, slow_workers=1, per_jump_host=1))
    first, other = Key("EdgeDevice", "a", "1"), Key("EdgeDevice", "b", "1")
    for device in (first, other):
        queue.add(device)
        await queue.get()
    queue.add(first._replace(name="2"))
    queue.add(other._replace(name="2"), Priority.DELETE)
    workers = [asyncio.create_task(queue.get()) for _ in range(2)]
    for _ in range(10):
        await asyncio.sleep(0)
    queue.done(first)
    taken = await asyncio.wait_for(asyncio.gather(*workers), 5)
    assert taken == [other._replace(name="2"), first._replace(name="2")]


async def test_passes_that_go_on_for_long_make_room_for_others_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a pass that ended earlier does not make the next one over its key old."""
    monkeypatch.setattr(workqueue, "YOUNG_SECONDS", 0.01)
    queue = WorkQueue(Capacity(workers=8, reserved_workers=0, slow_workers=1, per_jump_host=1))
    queue.add(key("a"))
    queue.done(await queue.get())
    for name in "abc":
        queue.add(key(name))
    assert [await asyncio.wait_for(queue.get(), 5) for _ in "abc"] == [key(name) for name in "abc"]


async def test_a_worker_that_is_cancelled_takes_no_key_with_it() -> None:
    """It was woken for the key, and another one takes it."""
    queue = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(key("a"))
    first.cancel()
    assert await asyncio.wait_for(second, 5) == key("a")


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.sampled_from(Priority)),
        st.tuples(st.just("take")),
        st.tuples(st.just("done")),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_nothing_that_was_added_is_lost_or_done_twice_at_once(steps: list[tuple[object, ...]]) -> None:
    """After any history every key had a pass that began after it was last added."""
    asyncio.run(_holds(steps))


async def _holds(steps: list[tuple[object, ...]]) -> None:
    queue = WorkQueue()
    busy: collections.deque[Key] = collections.deque()
    owed: set[Key] = set()
    for step in steps:
        match step:
            case ("add", str() as name, Priority() as priority):
                queue.add(key(name), priority)
                owed.add(key(name))
            case ("take",) if len(queue):
                taken = await queue.get()
                assert taken not in busy
                busy.append(taken)
                owed.discard(taken)
            case ("done",) if busy:
                queue.done(busy.popleft())
    while busy:
        queue.done(busy.popleft())
    assert sorted(await drained(queue)) == sorted(k.name for k in owed)


# ---- what is told of it


class _Heard(list[str]):
    """What an observer of the queue hears."""

    def added(self, key: Key) -> None:
        self.append(f"added {key.name}")

    def taken(self, key: Key) -> None:
        self.append(f"taken {key.name}")

    def done(self, key: Key) -> None:
        self.append(f"done {key.name}")

    def retried(self, key: Key) -> None:
        self.append(f"retried {key.name}")


async def test_an_observer_hears_what_happens() -> None:
    """In its order; what comes during a pass waits for its end."""
    heard = _Heard()
    queue = WorkQueue(observer=heard)
    queue.add(key("a"))
    await queue.get()
    queue.add(key("a"))
    queue.add_rate_limited(key("b"))
    queue.done(key("a"))
    assert heard == ["added a", "taken a", "added a", "retried b", "done a", "added a"]


class _Watch:
    """The clock of the queue's state, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        real = workqueue.time.monotonic
        monkeypatch.setattr(workqueue, "time", types.SimpleNamespace(monotonic=lambda: real() + self.ahead))


def _rounded(state: QueueState) -> tuple[bool, int, int]:
    return state.may_take, round(state.still_seconds, -3), round(state.longest_seconds, -3)


async def test_whether_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to move that may not, and a key that comes after a long rest has not waited for long."""
    watch, queue = _Watch(monkeypatch), WorkQueue(Capacity(workers=1, reserved_workers=0, slow_workers=1))
    found = []
    watch.ahead = 10000
    queue.add(key("a"))
    found.append(("waits", _rounded(queue.state)))
    watch.ahead = 14000
    queue.add(key("b"))
    found.append(("waits for long", _rounded(queue.state)))
    await queue.get()
    found.append(("is at work, another waits", _rounded(queue.state)))
    watch.ahead = 20000
    found.append(("is at work for long", _rounded(queue.state)))
    queue.done(key("a"))
    found.append(("the other may begin", _rounded(queue.state)))
    await queue.get()
    queue.done(key("b"))
    watch.ahead = 90000
    found.append(("nothing waits", _rounded(queue.state)))
    # A pass begins by the loop's clock, which stands at 0 here.
    assert found == [
        ("waits", (True, 0, 0)),
        ("waits for long", (True, 4000, 0)),
        ("is at work, another waits", (False, 0, 14000)),
        ("is at work for long", (False, 6000, 20000)),
        ("the other may begin", (True, 0, 0)),
        ("nothing waits", (False, 70000, 0)),
    ]


async def test_the_longest_pass_is_that_which_began_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And when it has ended, the next one's."""
    watch, queue = _Watch(monkeypatch), WorkQueue()
    assert queue.state.longest_seconds == 0.0
    for name in ("a", "b"):
        queue.add(key(name))
        await queue.get()
    watch.ahead = 5000
    whole = queue.state.longest_seconds
    queue.done(key("a"))
    rest = queue.state.longest_seconds
    queue.done(key("b"))
    assert (whole >= 5000, rest >= 5000) == (True, True)
    assert queue.state.longest_seconds == 0.0
