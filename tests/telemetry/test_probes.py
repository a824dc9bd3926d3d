"""Whether the operator is alive and ready: by its state, and over HTTP."""

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from edgeherd.controller.fleet import Fleet
from edgeherd.controller.workqueue import QueueState
from edgeherd.settings import Address
from edgeherd.telemetry import health
from edgeherd.telemetry.health import Check, Role, State, live, ready, told
from edgeherd.telemetry.metrics import Metrics, Sources
from edgeherd.telemetry.server import serving

AT_REST = QueueState(may_take=False, still_seconds=5000, longest_seconds=0)
WELL = State(role=Role.LEADER, phase="Watching", phase_seconds=9, queue=AT_REST)


def troubles(checks: tuple[Check, ...]) -> dict[str, str]:
    """What is not passed, and why."""
    return {check.name: check.trouble for check in checks if check.trouble}


def state(**changes: object) -> State:
    """The usual state, but for this."""
    return dataclasses.replace(WELL, **changes)


def queue(**changes: object) -> State:
    """The usual state with another queue."""
    return state(queue=dataclasses.replace(AT_REST, **changes))


FAILED = "Failed for 901 s: 401: Unauthorized"


@pytest.mark.parametrize(
    ("found", "not_alive", "not_ready"),
    [
        pytest.param(WELL, {}, {}, id="it leads and watches"),
        pytest.param(state(role=Role.STANDBY, phase=""), {}, {}, id="it stands by"),
        pytest.param(
            state(phase="", phase_seconds=3), {}, {"watch": "it was not begun yet for 3 s"}, id="it leads, and has not begun"
        ),
        pytest.param(
            state(phase="WaitingForCRDs", phase_seconds=86400, detail="there is no CRD edgedevices.edgeherd.io"),
            {},
            {"watch": "WaitingForCRDs for 86400 s: there is no CRD edgedevices.edgeherd.io"},
            id="it waits for the CRDs, for however long",
        ),
        pytest.param(state(phase="Listing", phase_seconds=30), {}, {"watch": "Listing for 30 s"}, id="it lists"),
        pytest.param(
            state(phase="Failed", phase_seconds=5, detail="500: no"), {}, {"watch": "Failed for 5 s: 500: no"}, id="the watch failed just now"
        ),
        pytest.param(
            state(phase="Failed", phase_seconds=901, detail="401: Unauthorized"), {"watch": FAILED}, {"watch": FAILED}, id="it has failed for long"
        ),
        pytest.param(
            state(role=Role.LOST),
            {"lease": "it was lost, and the process has not ended"},
            {"lease": "it was lost"},
            id="the Lease is lost",
        ),
        pytest.param(queue(may_take=True, still_seconds=2), {}, {}, id="something waits"),
        pytest.param(
            queue(may_take=True, still_seconds=301),
            {"queue": "objects wait and places are free, but nothing has moved for 301 s"},
            {},
            id="something could move and does not",
        ),
        pytest.param(queue(longest_seconds=600), {}, {}, id="a long pass"),
        pytest.param(
            queue(longest_seconds=901), {"queue": "a pass has been going on for 901 s"}, {}, id="a pass that does not end"
        ),
    ],
)  # fmt: skip
def test_verdicts(found: State, not_alive: dict[str, str], not_ready: dict[str, str]) -> None:
    """Alive is said of what will not pass by itself; ready of who does the work or stands by for it."""
    assert (troubles(live(found)), troubles(ready(found))) == (not_alive, not_ready)
    assert [check.name for check in live(found)] == ["ping", "lease", "watch", "queue"]
    assert [check.name for check in ready(found)] == ["ping", "lease", "watch"]


@pytest.mark.parametrize(
    ("checks", "verbose", "expected"),
    [
        ((Check("ping"), Check("watch")), False, (True, "ok")),
        ((Check("ping"), Check("watch")), True, (True, "[+]ping ok\n[+]watch ok\nhealthz check passed\n")),
        *(
            (
                (Check("ping"), Check("watch", "it is so")),
                verbose,
                (False, "[+]ping ok\n[-]watch failed: it is so\nhealthz check failed\n"),
            )
            for verbose in (False, True)
        ),
    ],
    ids=["well", "well, in detail", "not well", "not well, in detail"],
)
def test_what_is_answered(checks: tuple[Check, ...], verbose: bool, expected: tuple[bool, str]) -> None:
    """As kube-apiserver does it, but with the reason."""
    assert told("healthz", checks, verbose=verbose) == expected


# ---- over HTTP


@dataclasses.dataclass
class Served:
    """The two ports, and what the operator is at."""

    metrics_port: int = 0
    probe_port: int = 0
    state: State = WELL

    async def get(self, port: int, path: str) -> tuple[int, str, str]:
        """Status, media type and text."""
        url = f"http://127.0.0.1:{port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, answer.content_type, await answer.text()


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Served]:
    """Both ports, of the loopback."""
    metrics = Metrics(version="1.2.3", workers=1)
    found = Served()
    metrics.expose(Sources(fleet=Fleet(), budgets=dict, state=lambda: found.state))
    async with serving(
        metrics_address=Address("M", "127.0.0.1", 0),
        probe_address=Address("P", "127.0.0.1", 0),
        metrics=metrics,
        state=lambda: found.state,
    ) as (found.metrics_port, found.probe_port):
        yield found


async def test_probes_over_http() -> None:
    """200 or 500, and the words; what is asked is the state of the moment."""
    async with served() as lab:
        assert await lab.get(lab.probe_port, "/healthz") == (200, "text/plain", "ok")
        assert await lab.get(lab.probe_port, "/readyz?verbose") == (
            200,
            "text/plain",
            "[+]ping ok\n[+]lease ok\n[+]watch ok\nreadyz check passed\n",
        )
        lab.state = state(phase="WaitingForCRDs", phase_seconds=7, detail="there is no CRD; sig=hush")
        assert await lab.get(lab.probe_port, "/healthz") == (200, "text/plain", "ok")
        assert await lab.get(lab.probe_port, "/readyz") == (
            500,
            "text/plain",
            (
                "[+]ping ok\n[+]lease ok\n[-]watch failed: WaitingForCRDs for 7 s: there is no CRD; sig=***\n"
                "readyz check failed\n"
            ),
        )


async def test_each_port_has_its_own_paths() -> None:
    """Whoever may scrape may not probe, and the other way round."""
    async with served() as lab:
        asked = [
            (port, path)
            for port in (lab.metrics_port, lab.probe_port)
            for path in ("/metrics", "/healthz", "/readyz", "/")
        ]
        statuses = [(await lab.get(port, path))[0] for port, path in asked]
        assert statuses == [200, 404, 404, 404, 404, 200, 200, 404]
        _, media_type, text = await lab.get(lab.metrics_port, "/metrics")
        assert (media_type, 'edgeherd_build_info{version="1.2.3"} 1.0' in text) == ("text/plain", True)


async def test_what_has_no_address_is_not_served() -> None:
    """With a KUBECONFIG that is so for both."""
    metrics = Metrics(version="1", workers=1)
    async with serving(metrics_address=None, probe_address=None, metrics=metrics, state=lambda: WELL):
        assert [task.get_name() for task in asyncio.all_tasks() if "aiohttp" in repr(task.get_coro())] == []


async def test_an_address_that_cannot_be_had_is_named() -> None:
    """In one sentence, with the variable."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address("EDGEHERD_PROBE_ADDRESS", "127.0.0.1", taken.getsockname()[1])
        metrics = Metrics(version="1", workers=1)
        with pytest.raises(ValueError, match="EDGEHERD_PROBE_ADDRESS") as caught:
            async with serving(metrics_address=None, probe_address=address, metrics=metrics, state=lambda: WELL):
                pass
    assert (
        str(caught.value)
        == f"EDGEHERD_PROBE_ADDRESS is '{address}', which cannot be listened on: address already in use"
    )


def test_a_loop_that_hangs_answers_nothing() -> None:
    """That is what the kubelet's time-out sees."""
    ports: list[int] = []
    serves, hung, release = threading.Event(), threading.Event(), threading.Event()

    async def operator() -> None:
        async with served() as lab:
            ports.append(lab.probe_port)
            serves.set()
            await asyncio.to_thread(hung.wait, 20)
            release.wait(20)  # the loop stands still

    thread = threading.Thread(target=lambda: asyncio.run(operator()))
    thread.start()
    try:
        assert serves.wait(20)

        def ask(timeout: float) -> bytes:
            with socket.create_connection(("127.0.0.1", ports[0]), timeout=timeout) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return connection.recv(100)

        assert ask(20).startswith(b"HTTP/1.1 200")
        hung.set()
        assert _hangs(lambda: ask(1))
    finally:
        hung.set()
        release.set()
        thread.join(20)
    assert not thread.is_alive()


def _hangs(ask: Callable[[], object]) -> bool:
    """Until the loop has come to where it hangs, it may still answer."""
    for _ in range(100):
        try:
            ask()
        except TimeoutError:
            return True
    return False


def test_a_watch_is_given_the_time_to_end_by_itself() -> None:
    """Ten minutes; who is ended from outside loses what it remembers."""
    assert health.FAILED_SECONDS > 600
