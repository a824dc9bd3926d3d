"""What kopf makes of what API servers and networks do, and what a session tells of it."""

import asyncio
import contextlib
import dataclasses
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import kopf
import pytest
from watch_lab import HUBS, Cluster

from edgeherd.cluster.client import CONNECTIONS
from edgeherd.controller import watch
from edgeherd.controller.source import WatchEndedError
from edgeherd.controller.watch import Watched, WatchSession
from waiting import until

NO_ANSWER = "The API server did not answer: TimeoutError"


@dataclasses.dataclass(slots=True)
class Heard:
    """A listener that writes down what it hears, in order."""

    told: list[str] = dataclasses.field(default_factory=list)
    threads: set[threading.Thread] = dataclasses.field(default_factory=set)

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.threads.add(threading.current_thread())

    def opened(self) -> None:
        """See `Listener`."""
        self._tell("opened")

    def interrupted(self, trouble: str) -> None:
        """See `Listener`."""
        self._tell(f"interrupted: {trouble}")

    def relisted(self) -> None:
        """See `Listener`."""
        self._tell("relisted")

    def on_event(self, event: str, body: Mapping[str, Any]) -> None:
        """See `OnEvent`."""
        self._tell(f"{event or 'listed'} {body['metadata']['name']}")


@contextlib.asynccontextmanager
async def session(cluster: Cluster, heard: Heard, *namespaces: str) -> AsyncIterator[WatchSession]:
    """One that watches, until the block ends."""
    watched = (
        Watched(plural="edgedevices", namespaced=True, on_event=heard.on_event),
        Watched(plural="hubconnections", namespaced=False, on_event=heard.on_event),
    )
    running = WatchSession(watched, cluster.through, heard, namespaces)
    try:
        await until(lambda: "opened" in heard.told)
        yield running
    finally:
        await running.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSES", (0.05, 0.05))


async def test_what_is_there_is_told_and_then_what_happens(cluster: Cluster) -> None:
    """In the event loop that started it, and nothing after its end; the signals stay where they are."""
    heard = Heard()
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    await cluster.create("one")
    async with session(cluster, heard):
        await until(lambda: "listed one" in heard.told)
        await cluster.create("two")
        await until(lambda: "ADDED two" in heard.told)
        await cluster.delete("one")
        await until(lambda: "DELETED one" in heard.told)
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    await cluster.delete("two")
    assert set(heard.told) == {"opened", "listed one", "ADDED two", "DELETED one"}
    assert heard.threads == {threading.main_thread()}


@pytest.mark.parametrize("code", [429, 500, 504])
async def test_an_error_in_a_watch_ends_the_session(cluster: Cluster, code: int) -> None:
    """Of kopf 1.45.2 that is the end; it is for somebody else to begin anew."""
    async with session(cluster, Heard()) as running:
        cluster.proxy.send_errors(code)
        cause = await running.ended()
    assert isinstance(cause, WatchEndedError)
    assert str(cause).startswith("WatchingError: ")
    assert f"the proxy says {code}" in str(cause)


async def test_a_watch_that_is_too_old_lists_anew_and_says_so(cluster: Cluster) -> None:
    """Nothing tells who was deleted meanwhile."""
    heard = Heard()
    await cluster.create("one")
    async with session(cluster, heard):
        await until(lambda: "listed one" in heard.told)
        cluster.proxy.silent = True
        await cluster.delete("one")
        cluster.proxy.send_errors(410)
        cluster.proxy.silent = False
        await until(lambda: heard.told.count("relisted") == 2)
        await cluster.create("two")
        await until(lambda: "ADDED two" in heard.told)
    assert "DELETED one" not in heard.told


async def test_a_watch_that_is_cut_goes_on_where_it_was(cluster: Cluster) -> None:
    """As each is after ten minutes: no list, and nothing is missed."""
    heard = Heard()
    async with session(cluster, heard):
        await until(lambda: cluster.proxy.watches == 2)
        cluster.proxy.cut_watches()
        await cluster.create("one")
        await until(lambda: "ADDED one" in heard.told)
    assert "relisted" not in heard.told


async def test_an_api_server_that_is_away_for_a_moment_interrupts_the_watch(cluster: Cluster) -> None:
    """It is told, and told when it is over."""
    heard = Heard()
    async with session(cluster, heard):
        await cluster.proxy.leave()
        await until(lambda: heard.told[-1].startswith("interrupted: The API server did not answer"))
        await cluster.proxy.listen()
        await until(lambda: heard.told[-1] == "opened")


async def test_an_api_server_that_stays_away_ends_the_session(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf would try for ever."""
    monkeypatch.setattr(watch, "STUCK_SECONDS", 0.5)
    async with session(cluster, Heard()) as running:
        await cluster.proxy.leave()
        cause = await running.ended()
    assert str(cause) == "The API server did not answer: ClientConnectorError"


async def test_an_api_server_that_takes_requests_and_answers_none_ends_the_session(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf gives each watch up after a while, without a word, and asks again: that is no watch."""
    made = watch.settings

    def impatient() -> kopf.OperatorSettings:
        chosen = made()
        chosen.watching.inactivity_timeout = 0.3
        return chosen

    monkeypatch.setattr(watch, "settings", impatient)
    monkeypatch.setattr(watch, "STUCK_SECONDS", 0.5)
    heard = Heard()
    async with session(cluster, heard) as running:
        cluster.proxy.mute = True
        cluster.proxy.cut_watches()
        async with asyncio.timeout(20):
            cause = await running.ended()
        cluster.proxy.mute = False
    assert (str(cause), heard.told[-1]) == (NO_ANSWER, f"interrupted: {NO_ANSWER}")


async def test_a_refused_login_ends_the_session(cluster: Cluster) -> None:
    """Kopf would ask for another login at once, for ever."""
    async with session(cluster, Heard()) as running:
        cluster.proxy.token = "second"
        cluster.proxy.cut_watches()
        cause = await running.ended()
    assert str(cause) == "The API server refuses the operator's login (401)"
    assert len([seen for seen in cluster.proxy.seen if seen.status == 401]) <= 2


async def test_a_token_that_was_renewed_is_used(cluster: Cluster) -> None:
    """The first one is refused, and the file has another one by then."""
    heard = Heard()
    cluster.proxy.token = "first"
    async with session(cluster, heard):
        cluster.proxy.token = "second"
        cluster.token_file.write_text("second\n")
        cluster.proxy.cut_watches()
        await cluster.create("one")
        await until(lambda: "ADDED one" in heard.told)
    assert heard.told == ["opened", "ADDED one"]


async def test_a_crd_that_is_deleted_ends_the_session(cluster: Cluster) -> None:
    """The real API server ends the watch, and then knows no such path."""
    heard = Heard()
    await cluster.create("one")
    async with session(cluster, heard) as running:
        await until(lambda: "listed one" in heard.told)
        await cluster.uninstall("hubconnections.edgeherd.io")
        cause = await running.ended()
        assert (str(cause), getattr(cause, "status", 0)) == (f"The API server answered 404 to {HUBS}", 404)
        assert "DELETED one" in heard.told


@pytest.mark.parametrize("status", [403, 503])
async def test_a_list_that_is_refused_ends_the_session(cluster: Cluster, status: int) -> None:
    """After some attempts."""
    cluster.proxy.answers["hubconnections"] = status
    heard = Heard()
    running = WatchSession(
        (Watched(plural="hubconnections", namespaced=False, on_event=heard.on_event),), cluster.through, heard, ()
    )
    cause = await running.ended()
    await running.close()
    assert isinstance(cause, WatchEndedError)
    assert str(cause).endswith(f": the proxy says {status}")
    assert heard.told == []


async def test_lists_that_are_throttled_for_long_end_the_session(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf would try for ever, and be silent about it."""
    monkeypatch.setattr(watch, "STUCK_SECONDS", 0.5)
    cluster.proxy.answers["hubconnections"] = 429
    watched = (Watched(plural="hubconnections", namespaced=False, on_event=Heard().on_event),)
    running = WatchSession(watched, cluster.through, Heard(), ())
    cause = await running.ended()
    await running.close()
    assert str(cause) == f"The API server answered 429 to {HUBS}"


async def test_only_the_namespaces_that_are_named_are_watched(cluster: Cluster) -> None:
    """HubConnections are of none. Nothing else of the cluster is listed."""
    async with session(cluster, Heard(), "plant-a", "plant-b"):
        asked = {seen.path for seen in cluster.proxy.seen if "limit" in seen.query or seen.watches}
    base = "/apis/edgeherd.io/v1alpha1"
    assert asked == {f"{base}/namespaces/plant-{each}/edgedevices" for each in "ab"} | {f"{base}/hubconnections"}


async def test_every_namespace_gets_its_watch(cluster: Cluster) -> None:
    """However many there are: a watch keeps its connection, and others must not wait for it."""
    async with session(cluster, Heard(), *(f"plant-{number}" for number in range(CONNECTIONS + 1))):
        assert cluster.proxy.watches == CONNECTIONS + 2


async def test_one_event_that_cannot_be_taken_keeps_no_other_back(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a bug, and logged as one."""
    heard = Heard()

    def taken(event: str, body: Mapping[str, Any]) -> None:
        if body["metadata"]["name"] == "one":
            raise KeyError("spec")
        heard.on_event(event, body)

    watched = (Watched(plural="hubconnections", namespaced=False, on_event=taken),)
    running = WatchSession(watched, cluster.through, heard, ())
    await until(lambda: "opened" in heard.told)
    for name in ("one", "two"):
        await cluster.create(name)
    await until(lambda: "ADDED two" in heard.told)
    await running.close()
    assert "a bug: an event of the watch could not be taken" in caplog.text


def _spawn(behave: Callable[[], object]) -> Callable[..., Any]:
    async def spawn_tasks(**_: Any) -> None:
        behave()

    return spawn_tasks


async def test_a_bug_in_the_thread_is_told_as_one(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no trouble of the watch, and must end the process."""

    def fail() -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(watch.kopf, "spawn_tasks", _spawn(fail))
    running = WatchSession((), cluster.through, Heard(), ())
    cause = await running.ended()
    await running.close()
    assert repr(cause) == "KeyError('a bug')"


async def test_a_thread_that_hangs_is_found_out_and_left_behind(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes it does not wait for it."""
    release = threading.Event()
    monkeypatch.setattr(watch.kopf, "spawn_tasks", _spawn(release.wait))
    monkeypatch.setattr(watch, "HANG_SECONDS", 0.1)
    monkeypatch.setattr(watch, "CLOSE_SECONDS", 0.1)
    running = WatchSession((), cluster.through, Heard(), ())
    cause = await running.ended()
    await running.close()
    release.set()
    assert str(cause) == "the watch's thread hangs"
