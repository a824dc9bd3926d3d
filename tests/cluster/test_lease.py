"""Who leads, on a Lease in memory and a clock that stands still unless it is moved."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from lease_lab import BEGAN, OTHER, US, WALL, Body, Outcome, Server, held, run

LOST = "the Lease is lost: {}. Another operator may lead by now, so this one ends."
UNRENEWED = LOST.format("it could not be renewed for 10 s")

Deed = Callable[[Server], object]


def writes(spec: Body | None) -> Deed:
    """Somebody writes such a Lease."""
    return lambda server: server.put(spec)


def deletes(server: Server) -> None:
    """Somebody deletes it."""
    server.lease = None


def annotates(server: Server) -> None:
    """Somebody adds an annotation."""
    assert server.lease is not None
    server.put(server.lease["spec"], annotations={"note": "who is this?"})


def away_for(seconds: float) -> Deed:
    """The API server is away from now on, for so long."""

    def go(server: Server) -> None:
        server.away_until = server.now + seconds

    return go


def sets_wall_clock(seconds: float) -> Deed:
    """The machine's time is changed by so much."""

    def change(server: Server) -> None:
        server.wall += seconds

    return change


def is_slow(seconds: float) -> Deed:
    """Every answer takes so long."""

    def slow(server: Server) -> None:
        server.answer_seconds = seconds

    return slow


def loses_answer(server: Server) -> None:
    """The next write is done, and nobody hears of it."""
    server.loses_answer = True


def renews(until: float, spec: Body) -> dict[float, Deed]:
    """Another one renews it every two seconds."""
    return {at: writes(spec | {"renewTime": f"then {at}"}) for at in range(0, int(until), 2)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What is there, what happens when, and what becomes of the candidate within a minute."""

    sentence: str
    lease: Body | None = None
    is_there: bool = True
    happens: dict[float, Deed] = dataclasses.field(default_factory=dict)
    seconds: float = 60.0
    outcome: Outcome


LEADS = Outcome(led_at=0)
STANDS_BY = Outcome(led_at=None)
CASES = (
    Case(sentence="there never was a Lease", is_there=False, outcome=LEADS),
    # ---- somebody else's
    Case(sentence="its holder renews it", lease=held(), happens=renews(70, held()), outcome=STANDS_BY),
    Case(sentence="its holder is dead", lease=held(), outcome=Outcome(15)),
    Case(sentence="its holder dies", lease=held(), happens=renews(21, held()), outcome=Outcome(35)),
    Case(sentence="it says that it ran out years ago: our own clock counts", lease=held(renewTime="2001-01-01T00:00:00.000000Z"), outcome=Outcome(15)),
    Case(sentence="it says that it is renewed in the future", lease=held(renewTime="2101-01-01T00:00:00.000000Z"), outcome=Outcome(15)),
    Case(sentence="its holder wants a minute's patience", lease=held(leaseDurationSeconds=60), seconds=90, outcome=Outcome(60)),
    Case(sentence="it wants more patience than anybody has", lease=held(leaseDurationSeconds=2**31 - 1), seconds=400, outcome=Outcome(300)),
    Case(sentence="its holder releases it", lease=held(), happens={5.5: writes(held(""))}, outcome=Outcome(6)),
    Case(sentence="it was released", lease=held(""), outcome=LEADS),
    Case(sentence="it changes hands, and the new holder is left in peace too", lease=held(), happens={14: writes(held("c"))}, outcome=Outcome(29)),
    Case(sentence="somebody annotates it: a sign of life, for all that we know", lease=held(), happens={10: annotates}, outcome=Outcome(25)),
    Case(sentence="it is deleted under its holder, who is left in peace", lease=held(), happens={5: deletes}, outcome=Outcome(15)),
    Case(sentence="the API server is away while we stand by", lease=held(), happens={3: away_for(30)}, outcome=Outcome(33)),
    Case(sentence="the wall clock jumps while we stand by", lease=held(), happens={3: sets_wall_clock(1e6), 5: sets_wall_clock(-2e6)}, outcome=Outcome(15)),
    # ---- malformed
    Case(sentence="it has no spec", lease=None, outcome=LEADS),
    Case(sentence="its spec is empty", lease={}, outcome=LEADS),
    Case(sentence="it has a holder and nothing else", lease={"holderIdentity": OTHER}, outcome=Outcome(15)),
    Case(sentence="it has everything but a holder", lease=held() | {"holderIdentity": None}, outcome=LEADS),
    Case(sentence="its numbers are none", lease=held(leaseDurationSeconds="x", leaseTransitions="y"), outcome=Outcome(15)),
    Case(sentence="its numbers are below zero", lease=held(leaseDurationSeconds=-1, leaseTransitions=-1), outcome=Outcome(15)),
    Case(sentence="it cannot have changed hands more often", lease=held("", leaseTransitions=2**31 - 1), outcome=LEADS),
    # ---- ours
    Case(sentence="it is ours, and we did not hear of it", is_there=False, happens={0: loses_answer}, outcome=Outcome(1)),
    Case(sentence="a renewal is done and its answer lost", is_there=False, happens={5: loses_answer}, outcome=LEADS),
    Case(sentence="somebody annotates it while it is ours", is_there=False, happens={5: annotates}, outcome=LEADS),
    Case(sentence="it is deleted while it is ours", is_there=False, happens={5: deletes}, outcome=LEADS),
    Case(sentence="somebody else writes his name into it", is_there=False, happens={5: writes(held())}, outcome=Outcome(0, 6, LOST.format("it is held by 'edgeherd-b'"))),
    Case(sentence="somebody empties it", is_there=False, happens={5: writes({})}, outcome=Outcome(0, 6, LOST.format("somebody emptied it"))),
    Case(sentence="it is deleted and made anew by another", is_there=False, happens={5: deletes, 5.5: writes(held())}, outcome=Outcome(0, 6, LOST.format("it is held by 'edgeherd-b'"))),
    Case(sentence="the wall clock jumps while it is ours", is_there=False, happens={5: sets_wall_clock(-1e6), 9: sets_wall_clock(2e6)}, outcome=LEADS),
    Case(sentence="the API server is away for 9 s", is_there=False, happens={0.5: away_for(9)}, outcome=Outcome(0)),
    Case(sentence="the API server is away for 11 s", is_there=False, happens={0.5: away_for(11)}, outcome=Outcome(0, 10, UNRENEWED)),
    Case(sentence="the API server is away, and then another one leads", is_there=False, happens={0.5: away_for(9), 9: writes(held())}, outcome=Outcome(0, 9.5, LOST.format("it is held by 'edgeherd-b'"))),
    Case(sentence="every answer takes a while", is_there=False, happens={5: is_slow(1.5)}, outcome=LEADS),
    Case(sentence="the answer comes when it is too late", is_there=False, happens={5: is_slow(11)}, outcome=Outcome(0, 17, LOST.format("it took more than 10 s to renew it"))),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
async def test_who_leads(case: Case) -> None:
    """When it begins to lead, and when it gives up; at no time both the fence and the candidate disagree."""
    server = Server()
    if case.is_there:
        server.put(case.lease)
    for at, deed in case.happens.items():
        server.plan(at, deed)
    server.advance(0)
    assert await run(server, seconds=case.seconds) == case.outcome


async def test_a_process_that_stood_still_writes_nothing() -> None:
    """Not even the Lease, though nobody else has taken it."""
    server = Server()
    server.plan(5, lambda it: it._move(it.now + 60))  # noqa: SLF001 - time passes and nobody notices
    outcome = await run(server, seconds=300)
    assert (outcome, len(server.writes)) == (Outcome(0, 65, UNRENEWED), 3)


SPECS: list[tuple[str, Body | None, Body]] = [
    ("the first one", None, {"acquireTime": BEGAN, "leaseTransitions": 0}),
    ("after another holder", held(), {"acquireTime": "2026-01-01T00:00:15.000000Z", "leaseTransitions": 5}),
    ("after it was released", held(""), {"acquireTime": BEGAN, "leaseTransitions": 5}),
    ("after somebody else's nonsense", {"leaseTransitions": "x", "strategy": "y"}, {"acquireTime": BEGAN, "leaseTransitions": 1}),
    ("after a lost answer", held(US), {"acquireTime": BEGAN, "leaseTransitions": 4}),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "before", "differs"), SPECS, ids=[row[0] for row in SPECS])
async def test_what_is_written(sentence: str, before: Body | None, differs: dict[str, Any]) -> None:
    """Acquired, renewed every two seconds, and released at the end: times with six digits, whole objects."""
    del sentence
    server = Server()
    if before is not None:
        server.put(before, labels={"team": "b"})
    led_at = 15 if before == held() else 0
    assert await run(server, seconds=led_at + 4) == Outcome(led_at)
    ours = {"holderIdentity": US, "leaseDurationSeconds": 15, **differs}
    times = [f"2026-01-01T00:00:{led_at + seconds:02}.000000Z" for seconds in (0, 2, 4)]
    renewals = [{**ours, "renewTime": time} for time in times]
    assert server.writes == [*renewals[:2], {**renewals[2], "holderIdentity": ""}]
    assert server.lease is not None
    assert server.lease["metadata"].get("labels") == (None if before is None else {"team": "b"})


RELEASES: list[tuple[str, dict[float, Deed], str | None]] = [
    ("it is ours", {}, ""),
    ("somebody annotated it since", {3.9: annotates}, ""),
    ("another one has it", {3.9: writes(held())}, OTHER),
    ("it is gone", {3.9: deletes}, None),
    ("the API server is away", {3.9: away_for(9)}, US),
]


@pytest.mark.parametrize(("sentence", "happens", "holder"), RELEASES, ids=[row[0] for row in RELEASES])
async def test_only_our_own_lease_is_released(sentence: str, happens: dict[float, Deed], holder: str | None) -> None:
    """And an API server that is away does not hold up the end."""
    del sentence
    server = Server()
    for at, deed in happens.items():
        server.plan(at, deed)
    assert await run(server, seconds=4) == LEADS
    found = server.lease["spec"]["holderIdentity"] if server.lease is not None else None
    assert found == holder


async def test_who_stands_by_writes_nothing() -> None:
    """Neither while he waits, nor at his end."""
    server = Server()
    server.put(held())
    assert await run(server, seconds=10) == STANDS_BY
    assert (server.writes, server.wall) == ([], WALL + 10)
