"""Reads and writes of the operator in the cluster's own words: EdgeDevices, HubConnections, Secrets, Events."""

import base64
import logging
import socket
from collections.abc import AsyncIterator, Mapping, Sequence

from edgeherd import fitting, resource
from edgeherd.clock import Clock
from edgeherd.cluster.client import MERGE_PATCH, ApiClient, Body, path
from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.model import (
    FINALIZER,
    GROUP,
    KNOWN_HOSTS_TYPE,
    RENEW_KEY,
    SECRET_TYPE,
    VERSION,
    Condition,
    EdgeDevice,
    HubConnection,
    Secret,
    Status,
)

COMPONENT = "edgeherd"
EDGE_DEVICES, HUB_CONNECTIONS = "edgedevices", "hubconnections"

STATUS_ATTEMPTS = 5
"""How often a status is sent while others change the object."""

_log = logging.getLogger(__name__)


def _device_path(namespace: str, name: str, subresource: str = "") -> str:
    return path(GROUP, VERSION, EDGE_DEVICES, namespace=namespace, name=name, subresource=subresource)


def _secret_path(namespace: str, name: str = "") -> str:
    return path("", "v1", "secrets", namespace=namespace, name=name)


def _secret_body(
    device: EdgeDevice, name: str, type_: str, data: Mapping[str, str], annotations: Mapping[str, str]
) -> Body:
    """A Secret that goes when the EdgeDevice goes."""
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "EdgeDevice",
        "name": device.name,
        "uid": device.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": type_,
        "metadata": {
            "name": name,
            "namespace": device.namespace,
            "labels": {"app.kubernetes.io/managed-by": COMPONENT},
            "annotations": dict(annotations),
            "ownerReferences": [owner],
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


class KubernetesCluster:
    """The operator's view of the cluster."""

    def __init__(self, api: ApiClient, *, clock: Clock, namespaces: Sequence[str] = ()) -> None:
        """`namespaces` are those whose EdgeDevices there are for this operator; none are all."""
        self._api = api
        self._clock = clock
        self._namespaces = tuple(namespaces)

    async def missing_crds(self) -> tuple[str, ...]:
        """The names of our CRDs that the API server does not serve now, by its discovery."""
        body = await self._api.find(f"/apis/{GROUP}/{VERSION}") or {}
        served = {resource["name"] for resource in body.get("resources", [])}
        return tuple(f"{plural}.{GROUP}" for plural in (EDGE_DEVICES, HUB_CONNECTIONS) if plural not in served)

    async def edge_device(self, namespace: str, name: str) -> EdgeDevice | None:
        """The EdgeDevice as it is now; None when there is none."""
        body = await self._api.find(_device_path(namespace, name))
        return resource.edge_device(body) if body else None

    async def edge_devices(self) -> list[EdgeDevice]:
        """All EdgeDevices of all namespaces that are this operator's."""
        return [device for each in self._namespaces or ("",) async for device in self.edge_devices_in(each)]

    async def edge_devices_in(self, namespace: str) -> AsyncIterator[EdgeDevice]:
        """The EdgeDevices of a namespace, or of all when it is empty; a page of them is in memory at a time.

        One that this version cannot read is left out, and logged.
        """
        async for body in self._each(EDGE_DEVICES, namespace):
            try:
                device = resource.edge_device(body)
            except (KeyError, TypeError, ValueError):
                _log.exception("an EdgeDevice cannot be read; is the CRD of this version installed?")
            else:
                yield device

    async def hub_connections(self) -> list[HubConnection]:
        """All HubConnections."""
        return [resource.hub_connection(body) async for body in self._each(HUB_CONNECTIONS, "")]

    async def _each(self, plural: str, namespace: str) -> AsyncIterator[Body]:
        """All objects of a kind, read in pages."""
        token = ""
        while True:
            query = {"limit": "500", **({"continue": token} if token else {})}
            body = await self._api.request("GET", path(GROUP, VERSION, plural, namespace=namespace), query=query)
            for item in body["items"]:
                yield item
            token = body["metadata"].get("continue", "")
            if not token:
                return

    async def hub_connection(self, name: str) -> HubConnection | None:
        """The HubConnection as it is now; None when there is none."""
        body = await self._api.find(path(GROUP, VERSION, HUB_CONNECTIONS, name=name))
        return resource.hub_connection(body) if body else None

    async def namespace_labels(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace; none when it is gone."""
        body = await self._api.find(path("", "v1", "namespaces", name=name))
        return (body or {}).get("metadata", {}).get("labels") or {}

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now; None when there is none."""
        body = await self._api.find(_secret_path(namespace, name))
        return resource.secret(body) if body else None

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
        No label or annotation of the EdgeDevice is copied: a GitOps tool would take the Secret for its own.
        """
        body = _secret_body(device, device.secret_name, SECRET_TYPE, data, annotations)
        if create:
            query = {"fieldManager": COMPONENT}
            where = _secret_path(device.namespace)
            return resource.secret(
                await self._api.request("POST", where, query=query, body=body, content_type="application/json")
            )
        where = _secret_path(device.namespace, device.secret_name)
        if obsolete:
            # Server-side apply takes away only what it put there itself, and the first write was no apply.
            gone = {"data": dict.fromkeys(obsolete)}
            query = {"fieldManager": COMPONENT}
            await self._api.request("PATCH", where, query=query, body=gone, content_type=MERGE_PATCH)
        return resource.secret(await self._api.apply(where, body))

    async def put_known_hosts(self, device: EdgeDevice, known_hosts: str, *, create: bool) -> None:
        """Remember host keys in a Secret that is the EdgeDevice's; ConflictError when one is there unexpectedly."""
        body = _secret_body(device, device.known_hosts_name, KNOWN_HOSTS_TYPE, {"known_hosts": known_hosts}, {})
        if create:
            where, query = _secret_path(device.namespace), {"fieldManager": COMPONENT}
            await self._api.request("POST", where, query=query, body=body, content_type="application/json")
        else:
            await self._api.apply(_secret_path(device.namespace, device.known_hosts_name), body)

    async def add_finalizer(self, device: EdgeDevice) -> EdgeDevice:
        """Hold the object until the hub is cleaned up. A ConflictError means that it changed meanwhile."""
        value: object = FINALIZER if device.finalizers else [FINALIZER]
        at = "/metadata/finalizers/-" if device.finalizers else "/metadata/finalizers"
        return await self._patch(device, [{"op": "add", "path": at, "value": value}])

    async def remove_finalizer(self, device: EdgeDevice) -> None:
        """Let the object go."""
        index = device.finalizers.index(FINALIZER)
        at = f"/metadata/finalizers/{index}"
        await self._patch(device, [{"op": "test", "path": at, "value": FINALIZER}, {"op": "remove", "path": at}])

    async def forget_renewal(self, device: EdgeDevice) -> None:
        """Take away the annotation that asked for a new key: it was heard."""
        where = _device_path(device.namespace, device.name)
        body = {"metadata": {"annotations": {RENEW_KEY: None}, "uid": device.uid}}
        query = {"fieldManager": COMPONENT}
        await self._api.request("PATCH", where, query=query, body=body, content_type=MERGE_PATCH)

    async def _patch(self, device: EdgeDevice, operations: list[Body]) -> EdgeDevice:
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": device.resource_version}
        at = _device_path(device.namespace, device.name)
        return resource.edge_device(await self._api.json_patch(at, [guard, *operations]))

    async def put_status(self, device: EdgeDevice, status: Status) -> None:
        """Write the whole computed status."""
        await self._put_status(
            _device_path(device.namespace, device.name),
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "EdgeDevice",
                "metadata": {"name": device.name, "namespace": device.namespace},
                "status": resource.status_body(status),
            },
            uid=device.uid,
            version=device.resource_version,
        )

    async def put_hub_status(self, hub: HubConnection, conditions: tuple[Condition, ...], observed: int) -> None:
        """Write the status of a HubConnection."""
        status = {
            "conditions": resource.condition_bodies(conditions),
            "observedGeneration": fitting.fit_generation(observed),
        }
        await self._put_status(
            path(GROUP, VERSION, HUB_CONNECTIONS, name=hub.name),
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "HubConnection",
                "metadata": {"name": hub.name},
                "status": status,
            },
            uid=hub.uid,
        )

    async def _put_status(self, where: str, body: Body, *, uid: str, version: str = "") -> None:
        """Apply a status to the object with that uid, and to no namesake that was created meanwhile.

        The API server puts the stored metadata in the place of a status request's, so a uid in it guards nothing; a
        resourceVersion is compared before that. Where it is another one, the object is read again: a change of its spec
        or by its user is no reason to lose what was found, another uid is.

        Raises:
            ConflictError: it is another object by now, or it is changed faster than it can be written.
        """
        for _ in range(STATUS_ATTEMPTS):
            if not version:
                meta = (await self._api.request("GET", where))["metadata"]
                if meta["uid"] != uid:
                    raise ConflictError(409, f"{body['kind']} '{meta['name']}' has another uid by now.")
                version = meta["resourceVersion"]
            try:
                guarded = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
                await self._api.apply(f"{where}/status", guarded)
            except ConflictError:
                version = ""
            else:
                return
        raise ConflictError(409, f"{body['kind']} '{body['metadata']['name']}' is changed all the time.")

    async def event(self, device: EdgeDevice, *, warning: bool, reason: str, message: str) -> None:
        """Record an Event on the EdgeDevice. Events are a courtesy: a refusal is no trouble of the device."""
        stamp = self._clock.now()
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": fitting.event_prefix(device.name), "namespace": device.namespace},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "EdgeDevice",
                "namespace": device.namespace,
                "name": device.name,
                "uid": device.uid,
                "resourceVersion": device.resource_version,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason[: fitting.EVENT_REASON],
            "message": fitting.event_message(message),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": socket.gethostname(),
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        try:
            events = path("", "v1", "events", namespace=device.namespace)
            await self._api.request("POST", events, body=body, content_type="application/json")
        except ApiError as exc:
            _log.info("%s/%s: the API server refuses Event %s: %s", device.namespace, device.name, reason, exc)
