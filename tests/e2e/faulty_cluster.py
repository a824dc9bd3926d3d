"""A cluster of its own for tests that take its CRDs away, with a proxy between it and the operator."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import secrets
from collections.abc import AsyncIterator

import pytest
from world import Team, World, is_ready, until

from edgeherd.cluster.client import MERGE_PATCH, ApiClient, path
from edgeherd_sim.demo import scene, stage
from edgeherd_sim.demo.stage import Kubectl
from edgeherd_sim.devices.daemon import Pace
from edgeherd_sim.devices.server import serve as serve_devices
from edgeherd_sim.hub.server import serve as serve_hub
from edgeherd_sim.kube import envtest
from fault_proxy import FaultProxy, Target

DEVICES = 24
WATCHES, WAITS, FAILS = "watches EdgeDevices", "waits for its CRDs", "does not watch"


@dataclasses.dataclass(slots=True, kw_only=True)
class FaultyCluster:
    """The world, and what is between the operator and the API server."""

    world: World
    proxy: FaultProxy
    token_file: pathlib.Path

    @contextlib.asynccontextmanager
    async def operator(self, *, says: str = WATCHES, **environment: str) -> AsyncIterator[None]:
        """The operator, until the block ends; it is the same process then, ends with status 0, and told no secret."""
        await self.world.start_operator(says=says, **environment)
        running = self.world.operator
        assert running is not None
        try:
            yield
            assert running.process.returncode is None
            status = await running.stop()
            assert (status, "Traceback" in self.log, self.world.leaks()) == (0, False, []), self.log
        finally:
            await self.world.stop_operator()
            self.restore()
            await self.proxy.listen()
            (self.world.folder / "operator.log").write_text("")

    def restore(self) -> None:
        """Take all faults back."""
        self.proxy.token, self.proxy.silent = None, False
        self.proxy.answers.clear()
        self.token_file.write_text("first\n")

    @property
    def log(self) -> str:
        """What this operator has said so far."""
        return (self.world.folder / "operator.log").read_text()

    async def says(self, what: str, *, times: int = 1) -> None:
        """Wait until it has said something so often."""
        await until(lambda: self.log.count(what) >= times)

    async def works(self) -> None:
        """A device that is new is set up."""
        async with self.world.team() as team:
            await self.is_set_up(team)

    async def is_set_up(self, team: Team) -> None:
        """A new device of a team is."""
        managed = await team.ready(self.world.device())
        await managed.until(is_ready)
        await managed.delete()
        await managed.until_gone()

    async def install(self) -> None:
        """The CRDs, and the hub that all use."""
        await scene.install(self.world.kubectl)
        await self.world.kubectl.apply(self.world.hub_connection(self.world.hub_name, "hub"))

    async def let_go(self) -> None:
        """Take the finalizer off the hub that all use, where no operator runs that would."""
        body = {"metadata": {"finalizers": None}}
        where = path("edgeherd.io", "v1alpha1", "hubconnections", name=self.world.hub_name)
        await self.world.cluster.request("PATCH", where, body=body, content_type=MERGE_PATCH)

    async def uninstall(self, *names: str) -> None:
        """Delete CRDs."""
        await self.world.kubectl("delete", "crd", *names)


@contextlib.asynccontextmanager
async def _kubeconfig(folder: pathlib.Path) -> AsyncIterator[pathlib.Path]:
    """Of an API server that nobody else uses."""
    if envtest.assets() is None:
        async with stage.stand_in("kube", folder=folder) as kube:
            yield pathlib.Path(kube.facts["kubeconfig"])
    else:
        with contextlib.ExitStack() as stack:
            yield (await asyncio.to_thread(stack.enter_context, envtest.start())).kubeconfig


@contextlib.asynccontextmanager
async def faulty_cluster(folder: pathlib.Path) -> AsyncIterator[FaultyCluster]:
    """The cluster, without an operator."""
    if os.environ.get("EDGEHERD_E2E_CLUSTER") == "1":
        pytest.skip("these tests take CRDs away, and with them all their objects")
    (folder / "proxy").mkdir()
    token_file = folder / "token"
    async with contextlib.AsyncExitStack() as stack:
        kubeconfig = await stack.enter_async_context(_kubeconfig(folder))
        hub = await stack.enter_async_context(serve_hub())
        fleet = await stack.enter_async_context(
            serve_devices(
                count=DEVICES,
                bind="127.0.0.1",
                hub_ca=pathlib.Path(hub.ca_file),
                hub_port=hub.port,
                pace=Pace(watchdog=0.3, pull=0.1),
            )
        )
        cluster = await stack.enter_async_context(await ApiClient.configured(str(kubeconfig)))
        proxy = await stack.enter_async_context(FaultProxy(Target.of(kubeconfig), folder / "proxy"))
        run = secrets.token_hex(3)
        world = World(
            kubectl=Kubectl(kubeconfig=kubeconfig),
            cluster=cluster,
            hub=hub,
            fleet=fleet,
            modern=fleet,
            folder=folder,
            collects_garbage=False,
            namespace=f"edgeherd-{run}",
            hub_name=f"hub-{run}",
            operator_kubeconfig=proxy.kubeconfig(token_file=token_file),
        )
        await scene.install(world.kubectl)
        await world.prepare()
        faulty = FaultyCluster(world=world, proxy=proxy, token_file=token_file)
        faulty.restore()
        yield faulty
