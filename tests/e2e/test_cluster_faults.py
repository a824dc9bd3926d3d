"""What a cluster does to an operator in the course of a month: it goes on by itself, and never says that it watches when it does not."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from faulty_cluster import FAILS, WAITS, WATCHES, FaultyCluster, faulty_cluster
from world import because, edge_devices, is_ready

from edgeherd.clock import Clock
from edgeherd.cluster.client import MERGE_PATCH
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

CRDS = ("edgedevices.edgeherd.io", "hubconnections.edgeherd.io")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def faulty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultyCluster]:
    """A cluster of its own."""
    async with faulty_cluster(tmp_path_factory.mktemp("faulty")) as cluster:
        yield cluster


async def test_tokens_rotate(faulty: FaultyCluster) -> None:
    """One that was written in time is not even noticed; one that comes late, as after an API server restart, is waited for."""
    faulty.proxy.token = "first"
    async with faulty.operator():
        faulty.token_file.write_text("second\n")
        faulty.proxy.token = "second"
        faulty.proxy.cut_watches()
        await faulty.works()
        assert FAILS not in faulty.log
        faulty.proxy.token = "third"
        faulty.proxy.cut_watches()
        await faulty.says("does not watch, and tries again: The API server refuses the operator's login (401)")
        faulty.token_file.write_text("third\n")
        await faulty.says(WATCHES, times=2)
        await faulty.works()


async def test_crds_come_and_go(faulty: FaultyCluster) -> None:
    """It waits for them, says so once, and needs no restart. With a CRD its objects go, which are cleaned up as ever."""
    await faulty.let_go()
    await faulty.uninstall(*CRDS)
    async with faulty.operator(says=WAITS):
        assert "does not serve edgedevices.edgeherd.io and hubconnections.edgeherd.io" in faulty.log
        assert WATCHES not in faulty.log
        await faulty.install()
        await faulty.says(WATCHES)
        async with faulty.world.team() as team:
            managed = await team.ready(faulty.world.device())
            await faulty.uninstall(CRDS[0])
            assert managed.device_id not in {each.device_id for each in faulty.world.hub.store.devices()}
        await faulty.says("does not serve edgedevices.edgeherd.io;")
        await faulty.uninstall(CRDS[1])
        await faulty.says("does not serve edgedevices.edgeherd.io and hubconnections.edgeherd.io", times=2)
        assert faulty.log.count(WATCHES) == 1
        await faulty.install()
        await faulty.says(WATCHES, times=2)
        await faulty.works()


async def test_errors_in_watches_end_nothing(faulty: FaultyCluster) -> None:
    """As a loaded API server sends them."""
    async with faulty.operator():
        for number, code in enumerate((429, 500, 504), start=1):
            faulty.proxy.send_errors(code)
            await faulty.says("does not watch, and tries again: WatchingError", times=number)
            await faulty.says(WATCHES, times=number + 1)
        await faulty.works()


async def test_a_deletion_that_no_watch_showed_is_noticed(faulty: FaultyCluster) -> None:
    """A 410 makes kopf list anew, and a list does not show who is gone: here the first of two that name one identity."""
    async with faulty.operator(), faulty.world.team() as team:
        missing = {"authentication": "SelfSignedX509", "x509": {"certificateSecretRef": {"name": "missing"}}}
        first = team.manifest(faulty.world.device(), name="first", identity=missing)
        second = team.manifest(faulty.world.device(), name="second", deviceId=first["spec"]["deviceId"])
        created = (await (await team.apply(first)).until(because("CertificateSecretNotFound")))["metadata"]
        await until(lambda: Clock().now() > created["creationTimestamp"])  # or its uid would say who is older
        waiting = await team.apply(second)
        await waiting.until(because("IdentityConflict"))
        faulty.proxy.silent = True
        where = edge_devices(team.namespace, "first")
        await faulty.world.cluster.request(
            "PATCH", where, body={"metadata": {"finalizers": None}}, content_type=MERGE_PATCH
        )
        await faulty.world.cluster.request("DELETE", where)
        faulty.proxy.send_errors(410)
        faulty.proxy.silent = False
        await waiting.until(is_ready)


async def test_only_the_namespaces_that_are_named_are_looked_after(faulty: FaultyCluster) -> None:
    """An EdgeDevice elsewhere is somebody else's."""
    async with (
        faulty.world.team() as ours,
        faulty.world.team() as theirs,
        faulty.operator(EDGEHERD_WATCH_NAMESPACES=ours.namespace),
    ):
        left = await theirs.apply(theirs.manifest(faulty.world.device()))
        await faulty.is_set_up(ours)
        body = await left.get()
        assert body is not None
        assert {each["manager"] for each in body["metadata"]["managedFields"]} == {"kubectl-client-side-apply"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the operator is at when SIGTERM comes."""

    sentence: str
    begin: str
    come: Callable[[FaultyCluster], Awaitable[None]]


async def _refused(faulty: FaultyCluster) -> None:
    faulty.proxy.token = "another"
    faulty.proxy.cut_watches()
    await faulty.says("(401)")


async def _away(faulty: FaultyCluster) -> None:
    await faulty.proxy.leave()
    await faulty.says("a watch is interrupted")


async def _as_it_is(faulty: FaultyCluster) -> None:
    del faulty


STATES = (
    State(sentence="it watches", begin=WATCHES, come=_as_it_is),
    State(sentence="its login is refused", begin=WATCHES, come=_refused),
    State(sentence="the API server is away", begin=WATCHES, come=_away),
    State(sentence="it waits for the CRDs", begin=WAITS, come=_as_it_is),
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.sentence)
async def test_sigterm_ends_it_whatever_it_is_at(faulty: FaultyCluster, state: State) -> None:
    """With status 0, which `operator` sees to."""
    async with contextlib.AsyncExitStack() as stack:
        if state.begin == WAITS:
            await faulty.let_go()
            await faulty.uninstall(*CRDS)
            stack.push_async_callback(faulty.install)
        await stack.enter_async_context(faulty.operator(says=state.begin))
        await state.come(faulty)


async def test_an_api_server_that_was_never_there_can_come_later(faulty: FaultyCluster) -> None:
    """As on a cluster that is started as a whole."""
    await faulty.proxy.leave()
    async with faulty.operator(says=FAILS):
        await faulty.proxy.listen()
        await faulty.says(WATCHES)
        await faulty.works()
