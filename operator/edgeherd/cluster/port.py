"""What the operator asks of the cluster. The refusals are in `cluster.errors`; no policy here."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from edgeherd.model import Condition, EdgeDevice, HubConnection, Secret, Status


class Cluster(Protocol):
    """The cluster in its own words: EdgeDevices, HubConnections, Secrets, Events. Every method may raise any `ApiError`."""

    async def edge_device(self, namespace: str, name: str) -> EdgeDevice | None:
        """The EdgeDevice as it is now; None when there is none."""

    async def edge_devices(self) -> list[EdgeDevice]:
        """All EdgeDevices of all namespaces."""

    async def hub_connections(self) -> list[HubConnection]:
        """All HubConnections."""

    async def hub_connection(self, name: str) -> HubConnection | None:
        """The HubConnection as it is now; None when there is none."""

    async def namespace_labels(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace; none when it is gone."""

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now; None when there is none."""

    async def may_list_secrets(self, namespaces: Iterable[str]) -> bool:
        """Whether the operator may list the Secrets of these namespaces, '' being all."""

    async def secret_versions(self, namespaces: Iterable[str]) -> Mapping[tuple[str, str], str]:
        """The resourceVersions of the Secrets that the operator wrote, by namespace and name. Their content is not asked for."""

    async def secret_version(self, namespace: str, name: str) -> str:
        """The resourceVersion of a Secret, without its content; empty when there is none."""

    async def put_connection_secret(
        self,
        device: EdgeDevice,
        data: Mapping[str, str],
        *,
        annotations: Mapping[str, str],
        create: bool,
        obsolete: tuple[str, ...] = (),
    ) -> Secret:
        """Write the device's connection Secret, owned by the EdgeDevice; `obsolete` are keys of its data that go.

        With `create` an existing Secret is a ConflictError, so that nobody's Secret is taken over by a race.

        Returns:
            The Secret as it is now.
        """

    async def put_known_hosts(self, device: EdgeDevice, known_hosts: str, *, create: bool) -> None:
        """Remember host keys in a Secret that is the EdgeDevice's; ConflictError when one is there unexpectedly."""

    async def add_finalizer(self, device: EdgeDevice) -> EdgeDevice:
        """Hold the object until the hub is cleaned up; the object as it is now."""

    async def remove_finalizer(self, device: EdgeDevice) -> EdgeDevice:
        """Let the object go; it as it is now, or was at last."""

    async def add_hub_finalizer(self, hub: HubConnection) -> HubConnection:
        """Hold the HubConnection until nobody needs it; it as it is now."""

    async def remove_hub_finalizer(self, hub: HubConnection) -> None:
        """Let the HubConnection go."""

    async def forget_renewal(self, device: EdgeDevice) -> None:
        """Take away the annotation that asked for a new key: it was heard."""

    async def put_status(self, device: EdgeDevice, status: Status) -> EdgeDevice:
        """Write the whole computed status; the object as it is now."""

    async def put_hub_status(
        self, hub: HubConnection, conditions: tuple[Condition, ...], observed: int, *, handled: str
    ) -> None:
        """Write the whole status of a HubConnection; `handled` is the request to look that it answers."""

    async def event(self, device: EdgeDevice, *, warning: bool, reason: str, message: str) -> None:
        """Record an Event on the EdgeDevice. Events are a courtesy: a refusal is no trouble of the device."""
