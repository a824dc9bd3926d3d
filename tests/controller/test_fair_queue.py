"""Whose turn it is. Passes have no end here but when the test says so: nothing depends on the clock."""

import collections
import itertools
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeherd.controller.fair_queue import FairQueue
from edgeherd.model import Key, Priority

CHANGE, DELETE, DRIFT = Priority.CHANGE, Priority.DELETE, Priority.DRIFT


def keys(namespace: str, count: int) -> list[Key]:
    """Devices of a namespace."""
    return [Key("EdgeDevice", namespace, str(number)) for number in range(count)]


def queue(places: int = 64, reserve: int = 16, lane_places: int = 4, young_places: int = 1000) -> FairQueue:
    """An empty one."""
    return FairQueue(places, reserve=reserve, lane_places=lane_places, young_places=young_places)


def filled(fair: FairQueue, waiting: Iterable[Key], priority: Priority = CHANGE, lane: str = "") -> FairQueue:
    """The queue, and these wait in it."""
    for key in waiting:
        fair.add(key, priority, lane)
    return fair


def taken(fair: FairQueue, most: int = 1000) -> list[Key]:
    """All that can start now."""
    return list(itertools.islice(iter(fair.take, None), most))


def counted(found: Sequence[Key]) -> dict[str, int]:
    """How many of each namespace."""
    return dict(collections.Counter(key.namespace for key in found))


def test_a_victim_gets_a_worker_at_once_beside_500_passes_that_hang() -> None:
    """However often the hostile namespace's passes end and begin anew."""
    fair = filled(queue(), keys("hostile", 500))
    hanging = collections.deque(taken(fair))
    assert counted(hanging) == {"hostile": 48}
    for round_ in range(1000):
        victim = Key("EdgeDevice", "victim", str(round_))
        fair.add(victim, CHANGE)
        assert fair.take() == victim
        fair.release(victim)
        ended = hanging.popleft()
        fair.release(ended)
        fair.add(ended, CHANGE)
        hanging.extend(taken(fair))


@pytest.mark.parametrize(
    ("hostile", "free"),
    [(1, 8), (2, 8), (3, 8), (8, 4), (16, 2), (30, 1)],
)
def test_a_newcomer_finds_places_beside_any_number_of_hostile_namespaces(hostile: int, free: int) -> None:
    """Once their first passes have ended; the more there are, the smaller is a share."""
    fair = queue()
    running: collections.deque[Key] = collections.deque()
    for number in range(hostile):
        filled(fair, keys(f"hostile-{number}", 100))
        running.extend(taken(fair))
    for _ in range(1000):
        ended = running.popleft()
        fair.release(ended)
        fair.add(ended, CHANGE)
        running.extend(taken(fair))
    shares = counted(running).values()
    assert max(shares) - min(shares) <= 1
    filled(fair, keys("victim", 100), DRIFT)
    assert len([key for key in taken(fair) if key.namespace == "victim"]) >= free


def test_a_namespace_alone_gets_all_but_the_reserve() -> None:
    """Nothing is lost to tenants that are not there."""
    assert len(taken(filled(queue(), keys("a", 100)))) == 48


def test_namespaces_take_turns() -> None:
    """A hundred of one do not come before two of another; who always has just one is not always first."""
    fair = filled(queue(places=1, reserve=0), keys("a", 100))
    filled(fair, keys("b", 2))
    order = []
    for _ in range(6):
        (key,) = taken(fair)
        fair.release(key)
        order.append(key.namespace)
    assert order == ["a", "b", "a", "b", "a", "a"]
    one = keys("c", 1)[0]
    order = []
    for _ in range(4):
        fair.add(one, CHANGE)
        (key,) = taken(fair)
        fair.release(key)
        order.append(key.namespace)
    assert order == ["a", "c", "a", "c"]


def test_what_matters_more_comes_first_in_every_namespace() -> None:
    """Deletions, changes, drift; among equals the namespace with fewer passes at work."""
    fair = queue(places=6, reserve=0)
    for namespace, priority in (("a", DRIFT), ("b", DRIFT), ("a", CHANGE), ("b", DELETE), ("a", DELETE), ("b", CHANGE)):
        fair.add(Key("EdgeDevice", namespace, priority.name), priority)
    assert [(key.namespace, key.name) for key in taken(fair)] == [
        ("a", "DELETE"),
        ("b", "DELETE"),
        ("a", "CHANGE"),
        ("b", "CHANGE"),
        ("a", "DRIFT"),
        ("b", "DRIFT"),
    ]


def test_a_flood_of_deletions_does_not_hold_up_another_namespace_s_drift() -> None:
    """When the flood has its share, what is left is for others, whatever it is."""
    fair = filled(queue(), keys("flood", 500), DELETE)
    taken(fair)
    filled(fair, keys("quiet", 3), DRIFT)
    assert taken(fair) == keys("quiet", 3)


def test_a_jump_host_has_a_limit_and_holds_up_no_other() -> None:
    """Its devices wait; others of the namespace do not. What ends behind it lets the next one in."""
    fair = filled(queue(), keys("a", 10), lane="slow-jump:22")
    others = [Key("EdgeDevice", "a", name) for name in ("x", "y")]
    fair.add(others[0], DRIFT, "other-jump:22")
    fair.add(others[1], DRIFT)
    assert taken(fair) == [*keys("a", 10)[:4], *others]
    fair.release(keys("a", 10)[0])
    assert taken(fair) == [keys("a", 10)[4]]


def test_a_namespace_does_not_begin_everything_at_once() -> None:
    """What has gone on for a while, or ended, lets the next one begin; another namespace begins as it likes."""
    fair = filled(queue(young_places=2), keys("a", 9))
    filled(fair, keys("b", 1), DRIFT)
    assert taken(fair) == [*keys("a", 2), *keys("b", 1)]
    fair.grown(keys("a", 1)[0])
    assert taken(fair) == [keys("a", 9)[2]]
    fair.release(keys("a", 1)[0])
    assert taken(fair) == []
    fair.release(keys("a", 2)[1])
    assert taken(fair) == [keys("a", 9)[3]]


def test_a_key_that_matters_more_now_moves_up_also_to_another_lane() -> None:
    """It is taken once."""
    fair = filled(queue(), keys("a", 3), DRIFT, lane="jump:22")
    last = keys("a", 3)[2]
    fair.add(last, DELETE, "another:22")
    fair.add(last, DRIFT, "jump:22")
    assert (taken(fair), len(fair)) == ([last, *keys("a", 3)[:2]], 0)


def lines_for_each_key(count: int) -> float:
    """How many lines of Python are run for a key that comes, is taken and ends, beside so many others."""
    lines = 0

    def trace(frame: types.FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        del frame, argument
        lines += event == "line"
        return trace

    fair = queue(places=4, reserve=1)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for number in range(count):
            fair.add(Key("EdgeDevice", str(number % (count // 10)), str(number)), DRIFT, str(number % 7))
        for _ in range(count):
            key = fair.take()
            assert key is not None
            fair.release(key)
    finally:
        sys.settrace(before)
    assert len(fair) == 0
    return lines / count


def test_no_operation_looks_at_all_keys_or_all_namespaces() -> None:
    """Thirty times as many keys and namespaces cost no more for each; heaps do the rest."""
    assert lines_for_each_key(3_000) < 1.5 * lines_for_each_key(100)


_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"), st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(Priority), st.sampled_from(["", "j"])
        ),
        st.tuples(st.just("take")),
        st.tuples(st.just("release")),
        st.tuples(st.just("grow")),
    ),
    max_size=80,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(_STEPS)
def test_no_key_is_lost_and_no_limit_broken(steps: list[tuple[object, ...]]) -> None:
    """After any history; and when all is released all can be taken."""
    fair = queue(places=4, reserve=1, lane_places=2, young_places=2)
    young: set[Key] = set()
    running: collections.deque[Key] = collections.deque()
    waiting: set[Key] = set()
    for step in steps:
        match step:
            case ("add", str() as namespace, str() as name, Priority() as priority, str() as lane):
                key = Key("EdgeDevice", namespace, name)
                if key not in running:
                    fair.add(key, priority, lane)
                    waiting.add(key)
            case ("take",):
                found = fair.take()
                if found is not None:
                    waiting.remove(found)
                    running.append(found)
                    young.add(found)
            case ("grow",) if young:
                fair.grown(young.pop())
            case ("release",) if running:
                ended = running.popleft()
                fair.release(ended)
                young.discard(ended)
        assert len(running) <= 4
        assert max(counted(running).values(), default=0) <= 3
        assert max(counted(sorted(young)).values(), default=0) <= 2
        assert len(fair) == len(waiting)
    while waiting or running:
        for key in running:
            fair.release(key)
        running = collections.deque(taken(fair))
        assert running or not waiting, "what waits can be taken when all is free"
        waiting.difference_update(running)
