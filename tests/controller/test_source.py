"""When a watch is begun, what is made sure before, and what becomes of it when it ends. Nothing here is kopf's."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from edgeherd import resource
from edgeherd.clock import Clock
from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.controller.index import DeviceIndex
from edgeherd.controller.source import (
    Listener,
    NoWatchError,
    Phase,
    Source,
    SourceState,
    Timing,
    WatchEndedError,
)
from edgeherd.model import EdgeDevice, HubConnection, Key
from waiting import until

QUICK = Timing(
    first_pause=0.001,
    longest_pause=0.002,
    crd_pause=0.002,
    steady=60,
    sweep_after=0.01,
    refused_pause=0.01,
    give_up=600,
)
CRDS = ("edgedevices.edgeherd.io", "hubconnections.edgeherd.io")


def device(name: str, uid: str = "", namespace: str = "plant-a") -> EdgeDevice:
    """One that names contoso."""
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid of {name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    ssh = {"host": "h", "user": "u", "credentialsSecretRef": {"name": "s"}}
    return resource.edge_device({"metadata": meta, "spec": {"hubRef": {"name": "contoso"}, "ssh": ssh}})


def hub(name: str, **metadata: str) -> HubConnection:
    """A HubConnection for everybody."""
    spec = {
        "hostName": f"{name}.azure-devices.net",
        "auth": {"connectionStringSecretRef": {"name": "s"}},
        "allowedNamespaces": {"from": "All"},
    }
    return resource.hub_connection(
        {
            "metadata": {
                "name": name,
                "uid": f"uid of {name}",
                "generation": 1,
                "resourceVersion": "1",
                **metadata,
            },
            "spec": spec,
        }
    )


class Session:
    """A watch that ends when the test says so."""

    def __init__(self, listener: Listener, namespaces: Sequence[str]) -> None:
        self.listener = listener
        self.namespaces = tuple(namespaces)
        self.end: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.closed = False

    async def ended(self) -> Exception:
        """See the protocol."""
        return await self.end

    async def close(self) -> None:
        """See the protocol."""
        self.closed = True


@dataclasses.dataclass(slots=True)
class World:
    """A cluster in memory, and a source that reads it."""

    namespaces: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    hubs: list[HubConnection] = dataclasses.field(default_factory=list)
    devices: list[EdgeDevice] = dataclasses.field(default_factory=list)
    refuses: ApiError | None = None
    """What is answered to everything."""
    forbidden: tuple[str, ...] = ()
    now: float = 0.0
    began: Callable[[], None] = lambda: None
    """Called when a list of EdgeDevices is begun."""
    sessions: list[Session] = dataclasses.field(default_factory=list)
    gone: list[Key] = dataclasses.field(default_factory=list)
    going: list[Key] = dataclasses.field(default_factory=list)
    calls: list[str] = dataclasses.field(default_factory=list)
    index: DeviceIndex = dataclasses.field(default_factory=DeviceIndex)
    source: Any = None

    async def missing_crds(self) -> tuple[str, ...]:
        """See `Objects`."""
        self._asked("discovery")
        return self.missing

    async def hub_connections(self) -> list[HubConnection]:
        """See `Objects`."""
        self._asked("hubs")
        return list(self.hubs)

    async def edge_devices_in(self, namespace: str) -> AsyncIterator[EdgeDevice]:
        """See `Objects`."""
        self._asked(f"devices {namespace}".strip())
        if namespace in self.forbidden:
            raise ForbiddenError(403, "edgedevices is forbidden")
        found = [each for each in self.devices if namespace in {"", each.namespace}]
        self.began()
        for each in found:
            yield each

    def _asked(self, what: str) -> None:
        self.calls.append(what)
        if self.refuses is not None:
            raise self.refuses

    def forget(self, key: Key) -> None:
        """What the event handler does, as far as the source sees it."""
        self.gone.append(key)
        self.index.delete(key)

    def start(self, listener: Listener, namespaces: Sequence[str]) -> Session:
        """A session that is not open yet."""
        self.calls.append("watch")
        self.sessions.append(Session(listener, namespaces))
        return self.sessions[-1]

    @contextlib.asynccontextmanager
    async def running(self, timing: Timing = QUICK) -> AsyncIterator["asyncio.Task[None]"]:
        """The source, until the block ends."""
        self.source = Source(
            self,
            self.index,
            gone=self.forget,
            going=self.going.append,
            start=self.start,
            clock=Clock(monotonic=lambda: self.now),
            namespaces=self.namespaces,
            timing=timing,
        )
        task = asyncio.create_task(self.source.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert all(each.closed for each in self.sessions)

    async def session(self, number: int = 1) -> Session:
        """The one of that number, when it was started."""
        await until(lambda: len(self.sessions) >= number)
        return self.sessions[number - 1]

    @property
    def state(self) -> tuple[Phase, str]:
        """What the source is at, and why."""
        return self.source.state.phase, self.source.state.detail


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the log."""
    return [record.getMessage() for record in caplog.records]


async def test_both_kinds_are_listed_before_they_are_watched(caplog: pytest.LogCaptureFixture) -> None:
    """And it says that it watches when it does, not before."""
    caplog.set_level(logging.INFO)
    world = World(hubs=[hub("contoso")], devices=[device("one")])
    async with world.running():
        session = await world.session()
        assert world.calls == ["discovery", "hubs", "devices", "watch"]
        assert world.index.known("EdgeDevice") == {Key("EdgeDevice", "plant-a", "one"): "uid of one"}
        assert world.source.listed.is_set()
        assert (world.state, told(caplog)) == ((Phase.LISTING, ""), [])
        world.now = 7.0
        session.listener.opened()
        assert world.source.state == SourceState(phase=Phase.WATCHING, since=7.0)
        assert told(caplog) == ["watches EdgeDevices and HubConnections, in all namespaces"]


async def test_it_waits_for_its_crds_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """For as long as it takes: that is no failure. When they are there, it goes on."""
    world = World(missing=CRDS)
    async with world.running():
        await until(lambda: world.calls.count("discovery") > 3)
        detail = "the API server does not serve edgedevices.edgeherd.io and hubconnections.edgeherd.io"
        assert (world.state, world.source.listed.is_set()) == ((Phase.WAITING_FOR_CRDS, detail), False)
        world.now += 10_000
        world.missing = CRDS[1:]
        await until(lambda: world.state[1] == "the API server does not serve hubconnections.edgeherd.io")
        world.missing = ()
        await world.session()
        assert world.state == (Phase.LISTING, "")
    assert told(caplog) == [
        f"waits for its CRDs: the API server does not serve {missing}; kubectl apply -k crds installs them"
        for missing in (" and ".join(CRDS), CRDS[1])
    ]


async def test_a_crd_that_is_deleted_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """In one sentence. Who was there is gone when it is back, not before."""
    world = World(hubs=[hub("contoso")], devices=[device("one")])
    async with world.running():
        session = await world.session()
        session.listener.opened()
        world.missing = CRDS
        session.end.set_result(WatchEndedError("The API server answered 404 to /apis/...", status=404))
        await until(lambda: world.state[0] is Phase.WAITING_FOR_CRDS)
        assert (session.closed, world.gone) == (True, [])
        world.missing, world.devices = (), []
        (await world.session(2)).listener.opened()
        assert world.state == (Phase.WATCHING, "")
        assert world.gone == [Key("EdgeDevice", "plant-a", "one")]
    assert [line.split(":")[0] for line in told(caplog)] == ["waits for its CRDs"]


async def test_a_hub_connection_may_go_without_the_other_crd() -> None:
    """Nobody watches then, and whoever deleted both CRDs would wait for its finalizer for ever."""
    going = hub("contoso", deletionTimestamp="2026-01-02T00:00:00Z")
    world = World(hubs=[going, hub("fabrikam")], missing=CRDS[:1])
    async with world.running():
        await until(lambda: world.state[0] is Phase.WAITING_FOR_CRDS and len(world.going) > 1)
    assert set(world.going) == {going.key}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What ends a session, and what is said of it."""

    sentence: str
    cause: Exception
    says: str


CAUSES = (
    Cause(sentence="an ERROR in the watch", cause=WatchEndedError("WatchingError: too many requests"), says="WatchingError: too many requests"),
    Cause(sentence="a refused login", cause=WatchEndedError("The API server refuses the operator's login (401)", status=401), says="The API server refuses the operator's login (401)"),
    Cause(sentence="certificates that cannot be used", cause=ApiError(0, "The certificates cannot be used"), says="The certificates cannot be used"),
)  # fmt: skip


@pytest.mark.parametrize("case", CAUSES, ids=lambda case: case.sentence)
async def test_a_watch_that_ends_is_begun_anew(case: Cause, caplog: pytest.LogCaptureFixture) -> None:
    """With lists before it, by which it is seen who was deleted meanwhile."""
    caplog.set_level(logging.INFO)
    world = World(hubs=[hub("contoso"), hub("fabrikam")], devices=[device("one"), device("two")])
    async with world.running():
        session = await world.session()
        session.listener.opened()
        world.hubs, world.devices = [hub("contoso")], [device("two")]
        session.end.set_result(case.cause)
        session = await world.session(2)
        assert world.state == (Phase.FAILED, case.says)
        assert world.gone == [Key("HubConnection", "", "fabrikam"), Key("EdgeDevice", "plant-a", "one")]
        session.listener.opened()
        assert world.state == (Phase.WATCHING, "")
    assert told(caplog)[1:] == [
        f"does not watch, and tries again: {case.says}",
        "watches EdgeDevices and HubConnections again, in all namespaces",
    ]


REFUSALS = (
    ApiError(401, "Unauthorized"),
    ApiError(429, "too many requests"),
    ApiError(503, "the server is unavailable"),
    ApiError(0, "The API server did not answer: ClientConnectorError"),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
async def test_what_the_api_server_refuses_is_tried_again(refusal: ApiError, caplog: pytest.LogCaptureFixture) -> None:
    """It is no absence: nothing that is known is taken for gone. It is said once."""
    world = World(devices=[device("one")])
    async with world.running():
        session = await world.session()
        session.listener.opened()
        world.refuses, world.devices = refusal, []
        session.end.set_result(WatchEndedError("WatchingError: gone"))
        await until(lambda: world.calls.count("discovery") > 4)
        assert (world.state, world.gone) == ((Phase.FAILED, str(refusal)), [])
        world.refuses = None
        await world.session(2)
    assert told(caplog) == [
        "does not watch, and tries again: WatchingError: gone",
        f"does not watch, and tries again: {refusal}",
    ]


async def test_ten_minutes_without_a_watch_end_the_process() -> None:
    """Another one may do better; a moment of success is enough to go on."""
    world = World()
    async with world.running() as task:
        session = await world.session()
        world.now = 599.0
        session.listener.opened()
        world.now = 10_000.0
        session.end.set_result(WatchEndedError("the first"))
        await world.session(2)
        world.now = 10_599.0
        world.refuses = ApiError(401, "Unauthorized")
        world.sessions[1].end.set_result(WatchEndedError("the second"))
        await until(lambda: world.state[1] == "401: Unauthorized")
        assert not task.done()
        world.now = 10_600.0
        with pytest.raises(NoWatchError) as caught:
            await task
    assert str(caught.value) == "Nothing could be watched for 10 minutes: 401: Unauthorized"


async def test_a_bug_ends_the_process() -> None:
    """Whether it is in the session or in the source."""
    world = World()
    async with world.running() as task:
        (await world.session()).end.set_result(KeyError("a bug"))
        with pytest.raises(KeyError, match="a bug"):
            await task
    world = World(began=lambda: {}["another"])
    async with world.running() as task:
        with pytest.raises(KeyError, match="another"):
            await task


async def test_an_interruption_shows_and_passes(caplog: pytest.LogCaptureFixture) -> None:
    """The session goes on by itself."""
    caplog.set_level(logging.INFO)
    world = World()
    async with world.running():
        session = await world.session()
        session.listener.opened()
        session.listener.interrupted("The API server did not answer: ClientConnectorError")
        assert world.state == (Phase.FAILED, "The API server did not answer: ClientConnectorError")
        session.listener.opened()
        assert world.state == (Phase.WATCHING, "")
    assert len(world.sessions) == 1
    assert told(caplog)[1:] == [
        "a watch is interrupted, and tried again: The API server did not answer: ClientConnectorError",
        "watches EdgeDevices and HubConnections again, in all namespaces",
    ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What there is when a list was read anew, and what happens while it is swept."""

    sentence: str
    left: Sequence[EdgeDevice]
    meanwhile: Callable[[World], None] = lambda _: None
    gone: tuple[str, ...] = ()


SWEEPS = (
    Sweep(sentence="all are there", left=[device("one"), device("two")]),
    Sweep(sentence="one was deleted", left=[device("two")], gone=("one",)),
    Sweep(sentence="all were deleted", left=[], gone=("one", "two")),
    Sweep(sentence="one was deleted and created anew", left=[device("one", uid="new"), device("two")], gone=("one",)),
    Sweep(sentence="and the watch shows that while it is swept", left=[device("two")], meanwhile=lambda w: w.index.update(device("one", uid="new"))),
    Sweep(sentence="one is created while it is swept", left=[device("one"), device("two")], meanwhile=lambda w: w.index.update(device("three"))),
    Sweep(sentence="one is deleted while it is swept, and the watch shows it", left=[device("one"), device("two")], meanwhile=lambda w: w.forget(Key("EdgeDevice", "plant-a", "one")), gone=("one",)),
)  # fmt: skip


@pytest.mark.parametrize("case", SWEEPS, ids=lambda case: case.sentence)
async def test_who_was_deleted_in_a_gap_of_the_watch_is_found(case: Sweep) -> None:
    """By a list, some time after kopf read one anew. What the watch shows meanwhile is newer than the list."""
    world = World(devices=[device("one"), device("two")])
    async with world.running():
        session = await world.session()
        session.listener.opened()
        world.devices, world.began = list(case.left), lambda: case.meanwhile(world)
        world.calls.clear()
        session.listener.relisted()
        session.listener.relisted()
        await until(lambda: world.calls == ["hubs", "devices"])
        await until(lambda: sorted(key.name for key in world.gone) == list(case.gone))
        assert (len(world.sessions), world.state[0]) == (1, Phase.WATCHING)
    assert set(world.index.known("EdgeDevice")) >= {each.key for each in case.left if each.name not in case.gone}


async def test_a_sweep_that_is_refused_is_done_later() -> None:
    """And ends nothing."""
    world = World(devices=[device("one")])
    async with world.running():
        session = await world.session()
        session.listener.opened()
        world.devices, world.refuses = [], ApiError(429, "too many requests")
        world.calls.clear()
        session.listener.relisted()
        await until(lambda: len(world.calls) > 2)
        assert world.gone == []
        world.refuses = None
        await until(lambda: world.gone == [Key("EdgeDevice", "plant-a", "one")])


async def test_namespaces_are_listed_one_by_one() -> None:
    """And watched together."""
    world = World(namespaces=("plant-a", "plant-b"), devices=[device("one"), device("two", namespace="plant-b")])
    async with world.running():
        session = await world.session()
        assert world.calls == ["discovery", "hubs", "devices plant-a", "devices plant-b", "watch"]
        assert session.namespaces == ("plant-a", "plant-b")
        session.listener.opened()
        world.devices = [device("one")]
        session.listener.relisted()
        await until(lambda: world.gone == [Key("EdgeDevice", "plant-b", "two")])


async def test_a_namespace_that_may_not_be_listed_is_left_out_until_it_may(caplog: pytest.LogCaptureFixture) -> None:
    """As one that is deleted, whose RoleBinding goes with it. What was known of it is not taken for gone."""
    two = device("two", namespace="plant-b")
    world = World(namespaces=("plant-a", "plant-b"), devices=[device("one"), two])
    async with world.running():
        (await world.session()).listener.opened()
        world.forbidden = ("plant-b",)
        world.sessions[0].end.set_result(WatchEndedError("APIForbiddenError: edgedevices is forbidden", status=403))
        session = await world.session(2)
        session.listener.opened()
        assert session.namespaces == ("plant-a",)
        assert world.state == (Phase.WATCHING, "not in plant-b, where EdgeDevices may not be listed")
        assert world.gone == []
        world.forbidden = ()
        session = await world.session(3)
        session.listener.opened()
        assert (session.namespaces, world.state) == (("plant-a", "plant-b"), (Phase.WATCHING, ""))
    left_out = "leaves namespace plant-b out, where EdgeDevices may not be listed: 403: edgedevices is forbidden"
    assert [line for line in told(caplog) if "plant-b" in line] == [left_out]


async def test_without_any_namespace_that_may_be_listed_there_is_no_watch() -> None:
    """It is tried again, as any refusal."""
    world = World(namespaces=("plant-a", "plant-b"), forbidden=("plant-a", "plant-b"))
    async with world.running():
        await until(lambda: world.calls.count("discovery") > 2)
        assert (world.state, world.sessions) == ((Phase.FAILED, "403: edgedevices is forbidden"), [])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the source is at when it is cancelled."""

    sentence: str
    world: Callable[[], World]
    comes: Callable[[World], Awaitable[Any]]


async def _asked(world: World) -> None:
    await until(lambda: len(world.calls) > 2)


MOMENTS = (
    Moment(sentence="it waits for the CRDs", world=lambda: World(missing=CRDS), comes=_asked),
    Moment(sentence="it is refused", world=lambda: World(refuses=ApiError(401, "Unauthorized")), comes=_asked),
    Moment(sentence="it watches", world=World, comes=lambda world: world.session()),
)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.sentence)
async def test_it_ends_whatever_it_is_at(moment: Moment) -> None:
    """With pauses that nobody would wait for."""
    world = moment.world()
    slow = Timing(first_pause=0.001, longest_pause=3600, crd_pause=3600)
    async with world.running(slow) as task:
        await moment.comes(world)
        task.cancel()
        async with asyncio.timeout(30):
            with pytest.raises(asyncio.CancelledError):
                await task
