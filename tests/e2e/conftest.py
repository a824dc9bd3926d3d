"""The API server that the environment names, and the world around it.

KUBECONFIG with EDGEHERD_E2E_CLUSTER=1: that cluster. KUBEBUILDER_ASSETS: etcd and kube-apiserver from that folder.
Otherwise the simulator.
"""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import secrets
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from account import Account, remove
from world import PASSWORD, World

import rights
from edgeherd.cluster.client import ApiClient
from edgeherd_sim.demo import scene, stage
from edgeherd_sim.demo.stage import Kubectl
from edgeherd_sim.devices.daemon import Pace
from edgeherd_sim.devices.server import Fleet
from edgeherd_sim.devices.server import serve as serve_devices
from edgeherd_sim.hub.server import Hub
from edgeherd_sim.hub.server import serve as serve_hub
from edgeherd_sim.kube import envtest

DEVICES = 80
MODERN_DEVICES = 16
PACE = Pace(watchdog=0.3, pull=0.1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """The API server that the environment names, with our CRDs."""

    kubeconfig: pathlib.Path
    collects_garbage: bool
    knows_rights: bool
    """Whether it has RBAC; the simulator does not."""
    audit_log: rights.AuditLog | None = None
    stays: bool = False
    """Whether it is somebody's cluster, which is there afterwards."""


@contextlib.asynccontextmanager
async def _api_server(folder: pathlib.Path) -> AsyncIterator[ApiServer]:
    given = os.environ.get("KUBECONFIG")
    async with contextlib.AsyncExitStack() as stack:
        if given and os.environ.get("EDGEHERD_E2E_CLUSTER") == "1":
            await scene.install(Kubectl(kubeconfig=pathlib.Path(given)))
            yield ApiServer(kubeconfig=pathlib.Path(given), collects_garbage=True, knows_rights=True, stays=True)
        elif envtest.assets() is not None:
            controllers = envtest.has_controllers()
            real = await asyncio.to_thread(stack.enter_context, envtest.start(controllers=controllers))
            await scene.install(Kubectl(kubeconfig=real.kubeconfig))
            if controllers:
                stack.enter_context(envtest.managed(real))
            log = rights.AuditLog(real.audit_log)
            yield ApiServer(kubeconfig=real.kubeconfig, collects_garbage=controllers, knows_rights=True, audit_log=log)
        else:
            kube = await stack.enter_async_context(stage.stand_in("kube", folder=folder))
            kubeconfig = pathlib.Path(kube.facts["kubeconfig"])
            await scene.install(Kubectl(kubeconfig=kubeconfig))
            yield ApiServer(kubeconfig=kubeconfig, collects_garbage=True, knows_rights=False)


@contextlib.asynccontextmanager
async def _modern_fleet(folder: pathlib.Path, fleet: Fleet, hub: Hub) -> AsyncIterator[Fleet]:
    """Devices of 1.5 that take the same client key, a password, and connections to elsewhere."""
    root = folder / "modern"
    root.mkdir()
    shutil.copy(fleet.private_key_file, root / fleet.private_key_file.name)
    async with serve_devices(
        count=MODERN_DEVICES,
        name_prefix="robot-",
        bind="127.0.0.1",
        root=root,
        runtime_version="1.5.44",
        password=PASSWORD,
        forwarding=True,
        hub_ca=pathlib.Path(hub.ca_file),
        hub_port=hub.port,
        pace=PACE,
    ) as modern:
        yield modern


async def judge(account: Account, server: ApiServer, *, may_be_denied: set[str]) -> None:
    """Whatever the operator asked for in vain is a mistake of the manifests, but for what a test took away."""
    if server.audit_log is not None:
        assert server.audit_log.denied(account.user) - may_be_denied == set()
    if server.stays:
        await remove(Kubectl(kubeconfig=server.kubeconfig), account)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everything, with the operator running. At the end its log is searched for secrets."""
    folder = tmp_path_factory.mktemp("e2e")
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(_api_server(folder))
        hub = await stack.enter_async_context(serve_hub())
        fleet = await stack.enter_async_context(
            serve_devices(
                count=DEVICES,
                bind="127.0.0.1",
                hub_ca=pathlib.Path(hub.ca_file),
                hub_port=hub.port,
                pace=PACE,
            )
        )
        modern = await stack.enter_async_context(_modern_fleet(folder, fleet, hub))
        cluster = await stack.enter_async_context(await ApiClient.configured(str(server.kubeconfig)))
        run = secrets.token_hex(3)
        world = World(
            kubectl=Kubectl(kubeconfig=server.kubeconfig),
            cluster=cluster,
            hub=hub,
            fleet=fleet,
            modern=modern,
            folder=folder,
            collects_garbage=server.collects_garbage,
            namespace=f"edgeherd-{run}",
            hub_name=f"hub-{run}",
            audit_log=server.audit_log,
        )
        await world.prepare(as_account=server.knows_rights)
        await world.start_operator()
        try:
            yield world
        finally:
            await world.stop_operator()
            assert not world.leaks()
            if world.account is not None:
                await judge(world.account, server, may_be_denied=world.may_be_denied)
