"""The cluster and the hub, as a person's commands use them."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

import click

from edgeherd.clock import Clock
from edgeherd.cluster.client import ApiClient, Body, path
from edgeherd.cluster.errors import ApiError, ContentRefusedError
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.device.port import DeviceError
from edgeherd.errors import ReconcileError
from edgeherd.hub import azure
from edgeherd.hub.port import Hub, HubError
from edgeherd.hubtool.manifests import LeftOut, Plan
from edgeherd.model import GROUP, VERSION, EdgeDevice, HubConnection
from edgeherd.reconcile.errors import from_hub_error
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.settings import Settings

_T = TypeVar("_T")

AT_ONCE = 8
"""So many manifests are shown to the API server at the same time."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A cluster, and one hub of it."""

    api: ApiClient
    cluster: KubernetesCluster
    hubs: HubClients
    connection: HubConnection
    hub: Hub
    devices: tuple[EdgeDevice, ...]
    """All EdgeDevices."""

    @property
    def managed(self) -> Mapping[str, str]:
        """By device id, the EdgeDevice that manages it in this hub."""
        return {
            device.device_id: f"{device.namespace}/{device.name}"
            for device in self.devices
            if device.hub_name == self.connection.name and device.status.identity.device_id == device.device_id
        }

    def names(self, namespace: str) -> set[str]:
        """The names that are taken in a namespace."""
        return {device.name for device in self.devices if device.namespace == namespace}

    async def admitted(self, body: Mapping[str, Any]) -> Body:
        """What the API server would make of a manifest: with its defaults, judged by schema, rules and policies.

        Raises:
            ContentRefusedError: it would refuse it.
            ApiError: it did not judge it.
        """
        where = path(GROUP, VERSION, "edgedevices", namespace=body["metadata"]["namespace"])
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        return await self.api.request("POST", where, query=query, body=body, content_type="application/json")

    async def validated(self, plan: Plan) -> tuple[Plan, tuple[LeftOut, ...]]:
        """The plan without what the API server would refuse, and what that is.

        Raises:
            ApiError: it does not judge: the namespace is not there, say, or EdgeDevices may not be created in it.
        """
        slots = asyncio.Semaphore(AT_ONCE)

        async def judged(body: dict[str, Any]) -> LeftOut | None:
            async with slots:
                try:
                    await self.admitted(body)
                except ContentRefusedError as exc:
                    return LeftOut(device_id=body["spec"]["deviceId"], why=exc.message)
                except ApiError as exc:
                    hint = "The manifests were not validated; --no-validate writes them all the same."
                    raise ApiError(exc.status, f"{exc.message}. {hint}") from None
            return None

        verdicts = await asyncio.gather(*map(judged, plan.bodies))
        kept = tuple(body for body, verdict in zip(plan.bodies, verdicts, strict=True) if verdict is None)
        return dataclasses.replace(plan, bodies=kept), tuple(filter(None, verdicts))


@contextlib.asynccontextmanager
async def opened(hub: str) -> AsyncIterator[Access]:
    """The cluster that KUBECONFIG names, and its HubConnection of that name."""
    settings = Settings.from_environment()
    async with await ApiClient.configured(settings.kubeconfig) as api:
        cluster = KubernetesCluster(api, clock=Clock(), namespaces=settings.watch_namespaces)
        hubs = HubClients(cluster, namespace=settings.namespace, factory=azure.client_of)
        try:
            connection = await hubs.named(hub)
            client = await hubs.open(connection)
            yield Access(
                api=api,
                cluster=cluster,
                hubs=hubs,
                connection=connection,
                hub=client.on_behalf_of(""),
                devices=tuple(await cluster.edge_devices()),
            )
        finally:
            hubs.close()


def run(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Do it, and say what went wrong as a command does."""
    try:
        return asyncio.run(work())
    except HubError as exc:
        raise click.ClickException(from_hub_error(exc).message) from None
    except ReconcileError as exc:
        raise click.ClickException(exc.message) from None
    except (ApiError, DeviceError, ValueError) as exc:
        raise click.ClickException(str(exc)) from None


def tell(lines: Iterable[str]) -> None:
    """What is not for the file that the output goes into."""
    for line in lines:
        click.echo(line, err=True)
