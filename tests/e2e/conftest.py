"""The API server that the environment names, and the world around it.

KUBECONFIG with EDGEHERD_E2E_CLUSTER=1: that cluster. KUBEBUILDER_ASSETS: etcd and kube-apiserver from that folder.
Otherwise the simulator.
"""

import asyncio
import contextlib
import os
import pathlib
import secrets
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from world import PASSWORD, World

from edgeherd.cluster.client import ApiClient
from edgeherd_sim.demo import stage
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


@contextlib.asynccontextmanager
async def _api_server(folder: pathlib.Path) -> AsyncIterator[tuple[pathlib.Path, bool]]:
    """A kubeconfig, and whether that API server comes with the controllers that collect garbage."""
    given = os.environ.get("KUBECONFIG")
    if given and os.environ.get("EDGEHERD_E2E_CLUSTER") == "1":
        yield pathlib.Path(given), True
    elif envtest.assets() is not None:
        with contextlib.ExitStack() as stack:
            server = await asyncio.to_thread(stack.enter_context, envtest.start())
            yield server.kubeconfig, False
    else:
        async with stage.stand_in("kube", folder=folder) as kube:
            yield pathlib.Path(kube.facts["kubeconfig"]), True


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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everything, with the operator running. At the end its log is searched for secrets."""
    folder = tmp_path_factory.mktemp("e2e")
    async with contextlib.AsyncExitStack() as stack:
        kubeconfig, collects_garbage = await stack.enter_async_context(_api_server(folder))
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
        cluster = await stack.enter_async_context(await ApiClient.configured(str(kubeconfig)))
        run = secrets.token_hex(3)
        world = World(
            kubectl=Kubectl(kubeconfig=kubeconfig),
            cluster=cluster,
            hub=hub,
            fleet=fleet,
            modern=modern,
            folder=folder,
            collects_garbage=collects_garbage,
            namespace=f"edgeherd-{run}",
            hub_name=f"hub-{run}",
        )
        await world.prepare()
        await world.start_operator()
        try:
            yield world
        finally:
            await world.stop_operator()
            assert not world.leaks()
