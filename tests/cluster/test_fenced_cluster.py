"""Every write to the cluster passes the fence when it is about to be sent: by a real client, to a server on loopback."""

import asyncio
import contextlib
import dataclasses
import json
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from edgeherd import resource
from edgeherd.clock import Clock
from edgeherd.cluster.client import CONNECTIONS, ApiClient
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.cluster.port import Cluster
from edgeherd.fence import NotLeadingError
from edgeherd.model import FINALIZER, IN_USE_FINALIZER, Status
from fences import TestFence
from ports import READS, writes

META = {"name": "press-07", "namespace": "plant-a", "uid": "u1", "generation": 1, "resourceVersion": "7"}
OBJECT: dict[str, Any] = {
    "metadata": {**META, "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]},
    "spec": {
        "hubRef": {"name": "contoso"},
        "ssh": {"host": "h", "user": "u", "credentialsSecretRef": {"name": "s"}},
        "hostName": "contoso.azure-devices.net",
        "auth": {"workloadIdentity": {}},
        "allowedNamespaces": {"from": "All"},
    },
    "type": "Opaque",
    "data": {},
    "items": [],
    "status": {"allowed": True},
}
DEVICE, HUB = resource.edge_device(OBJECT), resource.hub_connection(OBJECT)

CALLS: dict[str, Callable[[KubernetesCluster], Awaitable[object]]] = {
    "add_finalizer": lambda it: it.add_finalizer(DEVICE),
    "edge_device": lambda it: it.edge_device("plant-a", "press-07"),
    "edge_devices": lambda it: it.edge_devices(),
    "event": lambda it: it.event(DEVICE, warning=False, reason="Ready", message="It is."),
    "forget_renewal": lambda it: it.forget_renewal(DEVICE),
    "hub_connection": lambda it: it.hub_connection("contoso"),
    "hub_connections": lambda it: it.hub_connections(),
    "namespace_labels": lambda it: it.namespace_labels("plant-a"),
    "put_connection_secret": lambda it: it.put_connection_secret(DEVICE, {}, annotations={}, create=True),
    "put_hub_status": lambda it: it.put_hub_status(HUB, (), 1, handled=""),
    "put_known_hosts": lambda it: it.put_known_hosts(DEVICE, "", create=False),
    "put_status": lambda it: it.put_status(DEVICE, Status()),
    "remove_finalizer": lambda it: it.remove_finalizer(DEVICE),
    "secret": lambda it: it.secret("plant-a", "ssh"),
    "secret_version": lambda it: it.secret_version("plant-a", "ssh"),
    "secret_versions": lambda it: it.secret_versions([""]),
    "add_hub_finalizer": lambda it: it.add_hub_finalizer(HUB),
    "remove_hub_finalizer": lambda it: it.remove_hub_finalizer(
        dataclasses.replace(HUB, finalizers=(IN_USE_FINALIZER,))
    ),
    # It changes nothing, but who may not write has no use for the answer.
    "may_list_secrets": lambda it: it.may_list_secrets([""]),
}


class Server:
    """Answers everything with one object, and holds back what is asked while it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Any request."""
        self.asked.append(request.method)
        await self.answers.wait()
        return web.json_response(OBJECT)

    @contextlib.asynccontextmanager
    async def serve(self, folder: pathlib.Path) -> AsyncIterator[str]:
        """Listen; the path of a kubeconfig."""
        runner = web.ServerRunner(web.Server(self.handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        kubeconfig = folder / "kubeconfig"
        clusters = [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}]
        contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        users = [{"name": "u", "user": {}}]
        body = {"clusters": clusters, "contexts": contexts, "users": users, "current-context": "c"}
        kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **body}))
        try:
            yield str(kubeconfig)
        finally:
            self.answers.set()
            await runner.cleanup()


@contextlib.asynccontextmanager
async def a_cluster(server: Server, folder: pathlib.Path, fence: TestFence) -> AsyncIterator[KubernetesCluster]:
    """The cluster behind a fence."""
    async with server.serve(folder) as kubeconfig, await ApiClient.configured(kubeconfig, fence=fence) as api:
        yield KubernetesCluster(api, clock=Clock())


@pytest.mark.parametrize("name", writes(Cluster))
async def test_no_write_passes_a_closed_fence(tmp_path: pathlib.Path, name: str) -> None:
    """It may read first, but nothing else reaches the server. With an open fence it does."""
    server = Server()
    async with a_cluster(server, tmp_path, TestFence()) as cluster:
        with pytest.raises(NotLeadingError):
            await CALLS[name](cluster)
    assert set(server.asked) <= {"GET"}
    async with a_cluster(server, tmp_path, TestFence(passes=9)) as cluster:
        await CALLS[name](cluster)
    assert set(server.asked) - {"GET"}


@pytest.mark.parametrize("name", sorted(READS[Cluster]))
async def test_reads_are_free(tmp_path: pathlib.Path, name: str) -> None:
    """Nobody asks the fence for them."""
    server, fence = Server(), TestFence()
    async with a_cluster(server, tmp_path, fence) as cluster:
        await CALLS[name](cluster)
    assert (set(server.asked), fence.asked) == ({"GET"}, 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_but_get_is_a_write(tmp_path: pathlib.Path, method: str) -> None:
    """Whatever it is for."""
    server = Server()
    async with server.serve(tmp_path) as kubeconfig, await ApiClient.configured(kubeconfig, fence=TestFence()) as api:
        with pytest.raises(NotLeadingError):
            await api.request(method, "/api/v1/namespaces/plant-a/secrets/x", body={})
    assert server.asked == []


async def test_a_write_that_waits_for_a_connection_asks_when_it_has_one(tmp_path: pathlib.Path) -> None:
    """All are taken by requests that hang; when one is free, somebody else leads."""
    server, fence = Server(), TestFence()
    async with a_cluster(server, tmp_path, fence) as cluster:
        server.answers.clear()
        reads = [asyncio.create_task(cluster.secret("plant-a", "ssh")) for _ in range(CONNECTIONS)]
        while len(server.asked) < CONNECTIONS:  # noqa: ASYNC110 - a poll of what other tasks do
            await asyncio.sleep(0.01)
        write = asyncio.create_task(cluster.forget_renewal(DEVICE))
        done, _ = await asyncio.wait([write], timeout=0.1)
        assert (done, fence.asked) == (set(), 0)
        server.answers.set()
        with pytest.raises(NotLeadingError):
            await write
        await asyncio.gather(*reads)
    assert set(server.asked) == {"GET"}
