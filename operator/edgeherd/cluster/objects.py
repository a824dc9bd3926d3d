"""Reads and writes of the operator in the cluster's own words: EdgeDevices, HubConnections, Secrets, Events."""

import base64
import logging
import socket
from collections.abc import Iterable, Mapping

from edgeherd import fitting, resource
from edgeherd.clock import Clock
from edgeherd.cluster.client import MERGE_PATCH, ApiClient, Body, path
from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.model import (
    FINALIZER,
    GROUP,
    IN_USE_FINALIZER,
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

MANAGED_BY = {"app.kubernetes.io/managed-by": COMPONENT}
"""The label of the Secrets that the operator writes."""

_METADATA = "g=meta.k8s.io;v=v1"

STATUS_ATTEMPTS = 5
"""How often a status is sent while others change the object."""

_log = logging.getLogger(__name__)


def _device_path(namespace: str, name: str, subresource: str = "") -> str:
    return path(GROUP, VERSION, "edgedevices", namespace=namespace, name=name, subresource=subresource)


def _hub_path(name: str) -> str:
    return path(GROUP, VERSION, "hubconnections", name=name)


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
            "labels": MANAGED_BY,
            "annotations": dict(annotations),
            "ownerReferences": [owner],
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


class KubernetesCluster:
    """The operator's view of the cluster."""

    def __init__(self, api: ApiClient, *, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def edge_device(self, namespace: str, name: str) -> EdgeDevice | None:
        """The EdgeDevice as it is now; None when there is none."""
        body = await self._api.find(_device_path(namespace, name))
        return resource.edge_device(body) if body else None

    async def edge_devices(self) -> list[EdgeDevice]:
        """All EdgeDevices of all namespaces."""
        return [resource.edge_device(body) for body in await self._all(path(GROUP, VERSION, "edgedevices"))]

    async def hub_connections(self) -> list[HubConnection]:
        """All HubConnections."""
        return [resource.hub_connection(body) for body in await self._all(path(GROUP, VERSION, "hubconnections"))]

    async def _all(self, where: str, *, labels: str = "", accept: str = "application/json") -> list[Body]:
        """All objects there, or those with these labels, read in pages."""
        found: list[Body] = []
        selector = {"labelSelector": labels} if labels else {}
        token = ""
        while True:
            query = {"limit": "500", **selector, **({"continue": token} if token else {})}
            body = await self._api.request("GET", where, query=query, accept=accept)
            found += body["items"] or ()  # null where a list of metadata is empty (seen with 1.36)
            token = body["metadata"].get("continue", "")
            if not token:
                return found

    async def hub_connection(self, name: str) -> HubConnection | None:
        """The HubConnection as it is now; None when there is none."""
        body = await self._api.find(_hub_path(name))
        return resource.hub_connection(body) if body else None

    async def namespace_labels(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace; none when it is gone."""
        body = await self._api.find(path("", "v1", "namespaces", name=name))
        return (body or {}).get("metadata", {}).get("labels") or {}

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now; None when there is none."""
        body = await self._api.find(_secret_path(namespace, name))
        return resource.secret(body) if body else None

    async def may_list_secrets(self, namespaces: Iterable[str]) -> bool:
        """Whether the operator may list the Secrets of these namespaces, '' being all."""
        where = path("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
        for namespace in namespaces:
            asked = {"verb": "list", "resource": "secrets", "namespace": namespace}
            body = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked},
            }
            answer = await self._api.request("POST", where, body=body, content_type="application/json")
            if not answer["status"].get("allowed", False):
                return False
        return True

    async def secret_versions(self, namespaces: Iterable[str]) -> Mapping[tuple[str, str], str]:
        """The resourceVersions of the Secrets that the operator wrote, by namespace and name. Their content is not asked for."""
        labels = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
        accept = f"application/json;as=PartialObjectMetadataList;{_METADATA}"
        found = [
            body["metadata"]
            for namespace in namespaces
            for body in await self._all(_secret_path(namespace), labels=labels, accept=accept)
        ]
        return {(meta["namespace"], meta["name"]): meta["resourceVersion"] for meta in found}

    async def secret_version(self, namespace: str, name: str) -> str:
        """The resourceVersion of a Secret, without its content; empty when there is none."""
        accept = f"application/json;as=PartialObjectMetadata;{_METADATA}"
        body = await self._api.find(_secret_path(namespace, name), accept=accept)
        return str(body["metadata"]["resourceVersion"]) if body else ""

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
        where = _device_path(device.namespace, device.name)
        return resource.edge_device(await self._add_finalizer(where, device, FINALIZER))

    async def remove_finalizer(self, device: EdgeDevice) -> EdgeDevice:
        """Let the object go; it as it is now, or was at last."""
        where = _device_path(device.namespace, device.name)
        return resource.edge_device(await self._remove_finalizer(where, device, FINALIZER))

    async def add_hub_finalizer(self, hub: HubConnection) -> HubConnection:
        """Hold the HubConnection until nobody needs it. A ConflictError means that it changed meanwhile."""
        return resource.hub_connection(await self._add_finalizer(_hub_path(hub.name), hub, IN_USE_FINALIZER))

    async def remove_hub_finalizer(self, hub: HubConnection) -> None:
        """Let the HubConnection go."""
        await self._remove_finalizer(_hub_path(hub.name), hub, IN_USE_FINALIZER)

    async def _add_finalizer(self, where: str, found: EdgeDevice | HubConnection, finalizer: str) -> Body:
        value: object = finalizer if found.finalizers else [finalizer]
        at = "/metadata/finalizers/-" if found.finalizers else "/metadata/finalizers"
        return await self._patch(where, found, [{"op": "add", "path": at, "value": value}])

    async def _remove_finalizer(self, where: str, found: EdgeDevice | HubConnection, finalizer: str) -> Body:
        at = f"/metadata/finalizers/{found.finalizers.index(finalizer)}"
        operations: list[Body] = [{"op": "test", "path": at, "value": finalizer}, {"op": "remove", "path": at}]
        return await self._patch(where, found, operations)

    async def forget_renewal(self, device: EdgeDevice) -> None:
        """Take away the annotation that asked for a new key: it was heard."""
        where = _device_path(device.namespace, device.name)
        body = {"metadata": {"annotations": {RENEW_KEY: None}, "uid": device.uid}}
        query = {"fieldManager": COMPONENT}
        await self._api.request("PATCH", where, query=query, body=body, content_type=MERGE_PATCH)

    async def _patch(self, where: str, found: EdgeDevice | HubConnection, operations: list[Body]) -> Body:
        """Patch the object as it was read."""
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": found.resource_version}
        return await self._api.json_patch(where, [guard, *operations])

    async def put_status(self, device: EdgeDevice, status: Status) -> EdgeDevice:
        """Write the whole computed status."""
        body = await self._put_status(
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
        return resource.edge_device(body)

    async def put_hub_status(
        self, hub: HubConnection, conditions: tuple[Condition, ...], observed: int, *, handled: str
    ) -> None:
        """Write the whole status of a HubConnection; `handled` is the request to look that it answers."""
        await self._put_status(
            _hub_path(hub.name),
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "HubConnection",
                "metadata": {"name": hub.name},
                "status": resource.hub_status_body(conditions, observed, handled=handled),
            },
            uid=hub.uid,
        )

    async def _put_status(self, where: str, body: Body, *, uid: str, version: str = "") -> Body:
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
                return await self._api.apply(f"{where}/status", guarded)
            except ConflictError:
                version = ""
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
            said = f"{reason}: {message}"
            _log.warning(
                "EdgeDevice %s/%s: %s (no Event could be recorded: %s)", device.namespace, device.name, said, exc
            )
