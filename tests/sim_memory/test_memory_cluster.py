"""The cluster in memory and the operator's own client on an API server: the same is asked, the same comes of it."""

import asyncio
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

import pytest
from ruamel.yaml import YAML

from edgeherd import resource
from edgeherd.clock import Clock
from edgeherd.cluster.client import MERGE_PATCH, ApiClient, path
from edgeherd.cluster.errors import ApiError, ConflictError, ContentRefusedError
from edgeherd.cluster.objects import KubernetesCluster
from edgeherd.cluster.port import Cluster
from edgeherd.model import GROUP, RENEW_KEY, VERSION, Condition, EdgeDevice, HubConnection, Secret, Status
from edgeherd_sim.kube import envtest
from edgeherd_sim.kube.server import serve
from edgeherd_sim.memory import MemoryCluster

CRDS = pathlib.Path(__file__).resolve().parents[2] / "crds"
NAMESPACE, NAME = "plant-a", "press-01"
SECRET, KNOWN = f"{NAME}-connection", f"{NAME}-known-hosts"
OTHER = "example.net/other"
API = f"{GROUP}/{VERSION}"
SPEC = {"hubRef": {"name": "contoso"}, "ssh": {"host": "h", "user": "u", "credentialsSecretRef": {"name": "ssh"}}}
HUB_SPEC = {
    "hostName": "contoso.azure-devices.net",
    "auth": {"connectionStringSecretRef": {"name": "hub"}},
    "allowedNamespaces": {"from": "All"},
}
AT = "2026-01-01T00:00:00Z"
READY = Condition(type="Ready", status="True", reason="Ready", message="It is.", observed_generation=1, last_transition_time=AT)  # fmt: skip
SAID = Status(observed_generation=1, conditions=(READY,), secret_name=SECRET)


class User(Protocol):
    """Who works with the cluster beside the operator."""

    @property
    def cluster(self) -> Cluster:
        """The cluster as the operator has it."""

    async def create(self) -> EdgeDevice:
        """Create the EdgeDevice, which asks for a new key."""

    async def edit(self, enabled: bool) -> None:
        """Change its spec."""

    async def renew(self, which: str) -> None:
        """Annotate it."""

    async def hold(self) -> None:
        """Put a finalizer of somebody else's on it."""

    async def delete(self) -> None:
        """Delete it."""

    async def create_hub(self) -> HubConnection:
        """Create the HubConnection."""

    async def delete_hub(self) -> None:
        """Delete it."""

    async def put_secret(self, name: str, data: Mapping[str, str]) -> None:
        """Create an Opaque Secret."""

    async def label(self, labels: Mapping[str, str]) -> None:
        """Label the namespace."""


class MemoryUser:
    """On the cluster in memory."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.uids = 0

    async def create(self) -> EdgeDevice:
        """See `User`."""
        self.uids += 1
        metadata = {
            "namespace": NAMESPACE,
            "name": NAME,
            "uid": f"u{self.uids}",
            "generation": 1,
            "resourceVersion": "",
        }
        more = {"creationTimestamp": AT, "annotations": {RENEW_KEY: "Primary"}}
        return self.cluster.put_device(resource.edge_device({"metadata": metadata | more, "spec": SPEC}))

    async def edit(self, enabled: bool) -> None:
        """See `User`."""
        self.cluster.edit_device(NAMESPACE, NAME, enabled=enabled)

    async def renew(self, which: str) -> None:
        """See `User`."""
        self.cluster.edit_device(NAMESPACE, NAME, renew_key=which)

    async def hold(self) -> None:
        """See `User`."""
        self.cluster.edit_device(NAMESPACE, NAME, finalizers=(OTHER,))

    async def delete(self) -> None:
        """See `User`."""
        self.cluster.delete_device(NAMESPACE, NAME)

    async def create_hub(self) -> HubConnection:
        """See `User`."""
        self.uids += 1
        metadata = {"name": "contoso", "uid": f"u{self.uids}", "generation": 1, "resourceVersion": ""}
        return self.cluster.put_hub(resource.hub_connection({"metadata": metadata, "spec": HUB_SPEC}))

    async def delete_hub(self) -> None:
        """See `User`."""
        self.cluster.delete_hub("contoso")

    async def put_secret(self, name: str, data: Mapping[str, str]) -> None:
        """See `User`."""
        self.cluster.put_secret(NAMESPACE, name, {key: value.encode() for key, value in data.items()})

    async def label(self, labels: Mapping[str, str]) -> None:
        """See `User`."""
        self.cluster.put_namespace(NAMESPACE, labels)


class ServerUser:
    """On an API server."""

    def __init__(self, api: ApiClient) -> None:
        self.cluster = KubernetesCluster(api, clock=Clock())
        self._api = api
        self._devices = path(GROUP, VERSION, "edgedevices", namespace=NAMESPACE)

    async def install(self) -> None:
        """The CRDs, and the namespace, unless they are there."""
        for name in ("edgedevice.yaml", "hubconnection.yaml"):
            body = YAML(typ="safe").load(CRDS / name)
            with contextlib.suppress(ConflictError):
                await self._create(path("apiextensions.k8s.io", "v1", "customresourcedefinitions"), body)
        for name in ("edgedevices", "hubconnections"):
            await self._served(name)
        with contextlib.suppress(ConflictError):
            await self._create(path("", "v1", "namespaces"), {"metadata": {"name": NAMESPACE}})

    async def add_condition(self, type_: str) -> None:
        """Somebody else says something of the EdgeDevice."""
        where = f"{self._devices}/{NAME}"
        said = (await self._api.request("GET", where))["status"]["conditions"]
        more = {**said[0], "type": type_}
        body, query = {"status": {"conditions": [*said, more]}}, {"fieldManager": "other"}
        await self._api.request("PATCH", f"{where}/status", query=query, body=body, content_type=MERGE_PATCH)

    async def _served(self, plural: str) -> None:
        """The real server serves a kind a moment after its CRD."""
        async with asyncio.timeout(30):
            while await refusal(self._api.request("GET", path(GROUP, VERSION, plural))):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)

    async def clean(self) -> None:
        """Nothing of a scenario is left to the next one; there is no garbage collector."""
        for found in await self.cluster.edge_devices():
            await self._patch(f"{self._devices}/{found.name}", {"metadata": {"finalizers": None}})
        for hub in await self.cluster.hub_connections():
            await self._patch(path(GROUP, VERSION, "hubconnections", name=hub.name), {"metadata": {"finalizers": None}})
        folders = [self._devices, path(GROUP, VERSION, "hubconnections")]
        for folder in [*folders, path("", "v1", "secrets", namespace=NAMESPACE)]:
            await self._api.request("DELETE", folder)
        await self._patch(path("", "v1", "namespaces", name=NAMESPACE), {"metadata": {"labels": {"plant": None}}})

    async def _create(self, where: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._api.request("POST", where, body=body, content_type="application/json")

    async def _patch(self, where: str, body: dict[str, Any]) -> None:
        await self._api.request("PATCH", where, body=body, content_type=MERGE_PATCH)

    async def create(self) -> EdgeDevice:
        """See `User`."""
        metadata = {"name": NAME, "annotations": {RENEW_KEY: "Primary"}}
        body = {"apiVersion": API, "kind": "EdgeDevice", "metadata": metadata, "spec": SPEC}
        return resource.edge_device(await self._create(self._devices, body))

    async def edit(self, enabled: bool) -> None:
        """See `User`."""
        spec = {"identity": {"status": "Enabled" if enabled else "Disabled"}}
        await self._patch(f"{self._devices}/{NAME}", {"spec": spec})

    async def renew(self, which: str) -> None:
        """See `User`."""
        await self._patch(f"{self._devices}/{NAME}", {"metadata": {"annotations": {RENEW_KEY: which}}})

    async def hold(self) -> None:
        """See `User`."""
        await self._patch(f"{self._devices}/{NAME}", {"metadata": {"finalizers": [OTHER]}})

    async def delete(self) -> None:
        """See `User`."""
        await self._api.request("DELETE", f"{self._devices}/{NAME}")

    async def create_hub(self) -> HubConnection:
        """See `User`."""
        body = {"apiVersion": API, "kind": "HubConnection", "metadata": {"name": "contoso"}, "spec": HUB_SPEC}
        return resource.hub_connection(await self._create(path(GROUP, VERSION, "hubconnections"), body))

    async def delete_hub(self) -> None:
        """See `User`."""
        await self._api.request("DELETE", path(GROUP, VERSION, "hubconnections", name="contoso"))

    async def put_secret(self, name: str, data: Mapping[str, str]) -> None:
        """See `User`."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}
        await self._create(path("", "v1", "secrets", namespace=NAMESPACE), body)

    async def label(self, labels: Mapping[str, str]) -> None:
        """See `User`."""
        await self._patch(path("", "v1", "namespaces", name=NAMESPACE), {"metadata": {"labels": dict(labels)}})


@pytest.fixture(scope="module")
def real_server() -> Iterator[pathlib.Path]:
    """The real API server's kubeconfig; skips where there is none."""
    if envtest.assets() is None:
        pytest.skip(f"{envtest.ASSETS} is not set: there is no real kube-apiserver to compare with")
    with envtest.start() as server:
        yield server.kubeconfig


@contextlib.asynccontextmanager
async def on_real_server(kubeconfig: pathlib.Path) -> AsyncIterator[User]:
    """What is ours is gone again afterwards, but for the namespace, which nobody's controller would let go."""
    async with await ApiClient.configured(str(kubeconfig)) as api:
        found = ServerUser(api)
        await found.install()
        try:
            yield found
        finally:
            await found.clean()


@pytest.fixture(params=["memory", "simulator", "real"])
async def user(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> AsyncIterator[User]:
    """On the one and on the other, and on the one that is right."""
    if request.param == "memory":
        yield MemoryUser()
        return
    if request.param == "real":
        async with on_real_server(request.getfixturevalue("real_server")) as real:
            yield real
        return
    async with serve(folder=tmp_path) as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        async with await ApiClient.configured(str(kubeconfig)) as api:
            found = ServerUser(api)
            await found.install()
            yield found


async def refusal(asked: Awaitable[object]) -> tuple[type[ApiError], int] | None:
    """How the API server refuses; None when it does not."""
    try:
        await asked
    except ApiError as exc:
        return type(exc), exc.status
    return None


async def live(user: User) -> EdgeDevice:
    """The EdgeDevice as it is now."""
    found = await user.cluster.edge_device(NAMESPACE, NAME)
    assert found is not None
    return found


def put(user: User, device: EdgeDevice, **more: Any) -> Awaitable[Secret]:
    """Write the connection Secret."""
    return user.cluster.put_connection_secret(
        device, **{"data": {"a": "1"}, "annotations": {}, "create": False, **more}
    )


async def a_secret_that_is_there_is_not_created(user: User) -> object:
    """Nobody's Secret is taken over by a race."""
    device = await user.create()
    await user.put_secret(SECRET, {"a": "theirs"})
    refused = await refusal(put(user, device, create=True))
    found = await user.cluster.secret(NAMESPACE, SECRET)
    return refused, found and found.data


async def another_type_is_refused(user: User) -> object:
    """A Secret's type stays."""
    device = await user.create()
    await user.put_secret(SECRET, {"a": "theirs"})
    return await refusal(put(user, device))


async def what_is_not_named_stays(user: User) -> object:
    """But for what is obsolete."""
    device = await user.create()
    first = await put(user, device, data={"a": "1", "b": "2", "c": "3"}, annotations={"x": "1", "y": "1"}, create=True)
    second = await put(user, device, data={"a": "0", "d": "4"}, annotations={"x": "2"}, obsolete=("b",))
    again = await put(user, device, data={"a": "0", "d": "4"}, annotations={"x": "2"})
    grew = [first.resource_version != second.resource_version, second.resource_version != again.resource_version]
    return dataclasses.replace(again, owner_uids=(), resource_version=""), again.owner_uids == (device.uid,), grew


async def an_apply_creates(user: User) -> object:
    """Unless something is obsolete, which wants an object."""
    device = await user.create()
    refused = await refusal(put(user, device, obsolete=("b",)))
    await put(user, device)
    await user.cluster.put_known_hosts(device, "h KEY\n", create=False)
    found = await user.cluster.secret(NAMESPACE, KNOWN)
    assert found is not None
    return refused, found.type, found.data, await refusal(user.cluster.put_known_hosts(device, "", create=True))


async def a_finalizer_holds_an_object(user: User) -> object:
    """Until it goes; each write is on what was read."""
    stale = await user.create()
    await user.edit(enabled=False)
    refused = [await refusal(user.cluster.add_finalizer(stale))]
    held = await user.cluster.add_finalizer(await live(user))
    await user.delete()
    refused.append(await refusal(user.cluster.remove_finalizer(held)))
    going = await live(user)
    await user.delete()
    same = going == await live(user)
    await user.cluster.remove_finalizer(going)
    gone = [await user.cluster.edge_device(NAMESPACE, NAME), await user.cluster.edge_devices()]
    refused.append(await refusal(user.cluster.remove_finalizer(going)))
    return refused, held.finalizers, held.generation, (going.deleting, going.generation, same), gone


async def a_finalizer_that_comes_too_late(user: User) -> object:
    """An object that goes gets no new one."""
    await user.create()
    await user.hold()
    await user.delete()
    return await refusal(user.cluster.add_finalizer(await live(user))), (await live(user)).finalizers


async def nothing_holds_it(user: User) -> object:
    """It goes at once."""
    await user.create()
    await user.delete()
    return await user.cluster.edge_device(NAMESPACE, NAME)


async def generations(user: User) -> object:
    """A spec moves them; annotations and status do not, but they are writes."""
    seen = [await user.create()]
    for enabled, which in ((False, "Primary"), (False, "Secondary"), (False, "Secondary")):
        await user.edit(enabled=enabled)
        await user.renew(which)
        seen.append(await live(user))
    for status in (SAID, SAID):
        await user.cluster.put_status(seen[-1], status)
        seen.append(await live(user))
    versions = [device.resource_version for device in seen]
    moved = [before != after for before, after in itertools.pairwise(versions)]
    return [device.generation for device in seen], moved, seen[-1].status


async def a_renewal_that_was_heard(user: User) -> object:
    """Its annotation goes; not that of a namesake, and not from one that is gone."""
    first = await user.create()
    await user.delete()
    refused = [await refusal(user.cluster.forget_renewal(first))]
    await user.create()
    refused.append(await refusal(user.cluster.forget_renewal(first)))
    before = await live(user)
    await user.cluster.forget_renewal(before)
    after = await live(user)
    return refused, (before.renew_key, after.renew_key, after.generation)


async def a_status_of_what_is_gone(user: User) -> object:
    """Nothing comes back by it."""
    first = await user.create()
    await user.delete()
    return await refusal(user.cluster.put_status(first, SAID)), await user.cluster.edge_devices()


async def a_namesakes_status(user: User) -> object:
    """It is not this object's."""
    first = await user.create()
    await user.delete()
    await user.create()
    return await refusal(user.cluster.put_status(first, SAID)), (await live(user)).status == SAID


async def a_status_of_what_changed(user: User) -> object:
    """What was found is kept, whoever changed the object meanwhile."""
    first = await user.create()
    await user.edit(enabled=False)
    await user.renew("Secondary")
    await user.cluster.put_status(first, SAID)
    return (await live(user)).status


async def a_namesakes_hub_status(user: User) -> object:
    """It is not this HubConnection's."""
    first = await user.create_hub()
    await user.delete_hub()
    await user.create_hub()
    refused = await refusal(user.cluster.put_hub_status(first, (READY,), 1, handled=""))
    found = await user.cluster.hub_connection("contoso")
    return refused, found and found.conditions


async def every_character_may_be_told(user: User) -> object:
    """Those beyond the 65,536 first, those that YAML takes for line breaks or has no place for."""
    device = await user.create()
    message = 'a"\\ud83d\\ude00\\ \U0001f600 \x00\x07\x7f\x85\u2028\ufeff\uffff\ufffd\t\r\n#: {[' + "\U0001f600" * 20000
    status = dataclasses.replace(SAID, conditions=(dataclasses.replace(READY, message=message),))
    await user.cluster.put_status(device, status)
    return (await live(user)).status == status


async def a_hub_has_a_status(user: User) -> object:
    """It moves no generation."""
    hub = await user.create_hub()
    await user.cluster.put_hub_status(hub, (READY,), 1, handled="")
    found = await user.cluster.hub_connection("contoso")
    missing = dataclasses.replace(hub, name="other")
    refused = await refusal(user.cluster.put_hub_status(missing, (READY,), 1, handled=""))
    none = await user.cluster.hub_connection("other")
    return found and (found.generation, found.observed_generation, found.conditions), refused, none


async def versions_of_secrets(user: User) -> object:
    """Those that the operator wrote are listed; any can be asked for by its name. An edit is another version."""
    device = await user.create()
    await user.put_secret("theirs", {"a": "b"})
    seen = []
    for _ in range(2):
        secret = await put(user, device, data={"a": str(len(seen))}, create=not seen)
        listed = await user.cluster.secret_versions(["", NAMESPACE])
        version = await user.cluster.secret_version(NAMESPACE, SECRET)
        assert listed == {(NAMESPACE, SECRET): version}
        seen.append((version == secret.resource_version, version))
    missing = await user.cluster.secret_version(NAMESPACE, "missing"), await user.cluster.secret_versions(["other"])
    known = [bool(await user.cluster.secret_version(NAMESPACE, "theirs")), seen[0][1] != seen[1][1]]
    return [same for same, _ in seen], known, missing, await user.cluster.may_list_secrets([""])


async def a_finalizer_holds_a_hub(user: User) -> object:
    """As it holds a device: from what was read, and until it goes."""
    stale = await user.create_hub()
    held = await user.cluster.add_hub_finalizer(stale)
    refused = [await refusal(user.cluster.add_hub_finalizer(stale))]
    await user.delete_hub()
    going = await user.cluster.hub_connection("contoso")
    assert going is not None
    refused.append(await refusal(user.cluster.remove_hub_finalizer(held)))
    await user.cluster.put_hub_status(going, (READY,), 1, handled="now")
    said = await user.cluster.hub_connection("contoso")
    assert said is not None
    await user.cluster.remove_hub_finalizer(said)
    seen = [(each.finalizers, each.generation, each.deleting) for each in (stale, held, said)]
    return seen, said.last_handled_reconcile_at, refused, await user.cluster.hub_connection("contoso")


async def labels_of_namespaces(user: User) -> object:
    """The API server adds one."""
    await user.label({"plant": "a"})
    return dict(await user.cluster.namespace_labels(NAMESPACE)), dict(await user.cluster.namespace_labels("other"))


@pytest.mark.parametrize("user", ["simulator", "real"], indirect=True)
async def test_conditions_of_others_stay(user: ServerUser) -> None:
    """A status takes away what the operator said itself, and nothing else."""
    device = await user.create()
    await user.cluster.put_status(
        device, dataclasses.replace(SAID, conditions=(READY, dataclasses.replace(READY, type="Stalled")))
    )
    await user.add_condition("example.net/Approved")
    await user.cluster.put_status(device, SAID)
    assert sorted(condition.type for condition in (await live(user)).status.conditions) == [
        "Ready",
        "example.net/Approved",
    ]


LABELS = {"app.kubernetes.io/managed-by": "edgeherd"}
MERGED = Secret(
    namespace=NAMESPACE,
    name=SECRET,
    type="edgeherd.io/device-connection",
    data={"a": b"0", "c": b"3", "d": b"4"},
    labels=LABELS,
    annotations={"x": "2", "y": "1"},
    owner_uids=(),
    resource_version="",
)
NOT_FOUND, PATCH_FAILED, CONFLICT = (ApiError, 404), (ConflictError, 422), (ConflictError, 409)
SCENARIOS: dict[Callable[[User], Awaitable[object]], object] = {
    a_secret_that_is_there_is_not_created: (CONFLICT, {"a": b"theirs"}),
    another_type_is_refused: (ContentRefusedError, 422),
    what_is_not_named_stays: (MERGED, True, [True, False]),
    an_apply_creates: (NOT_FOUND, "edgeherd.io/known-hosts", {"known_hosts": b"h KEY\n"}, CONFLICT),
    a_finalizer_holds_an_object: (
        [PATCH_FAILED, PATCH_FAILED, NOT_FOUND],
        ("edgeherd.io/identity",),
        2,
        (True, 3, True),
        [None, []],
    ),
    a_finalizer_that_comes_too_late: ((ContentRefusedError, 422), (OTHER,)),
    nothing_holds_it: None,
    generations: ([1, 2, 2, 2, 2, 2], [True, True, False, True, False], SAID),
    a_renewal_that_was_heard: ([NOT_FOUND, (ContentRefusedError, 422)], ("Primary", "", 1)),
    a_status_of_what_is_gone: (NOT_FOUND, []),
    a_namesakes_status: (CONFLICT, False),
    a_status_of_what_changed: SAID,
    a_namesakes_hub_status: (CONFLICT, ()),
    every_character_may_be_told: True,
    a_hub_has_a_status: ((1, 1, (READY,)), NOT_FOUND, None),
    versions_of_secrets: ([True, True], [True, True], ("", {}), True),
    a_finalizer_holds_a_hub: (
        [((), 1, False), (("edgeherd.io/in-use",), 1, False), (("edgeherd.io/in-use",), 2, True)],
        "now",
        [PATCH_FAILED, PATCH_FAILED],
        None,
    ),
    labels_of_namespaces: ({"plant": "a", "kubernetes.io/metadata.name": NAMESPACE}, {}),
}


@pytest.mark.parametrize(("scenario", "expected"), SCENARIOS.items(), ids=[each.__name__ for each in SCENARIOS])
async def test_both_say_the_same(
    user: User,
    scenario: Callable[[User], Awaitable[object]],
    expected: object,
) -> None:
    """So what is true of a pass in memory is true of one on an API server."""
    assert await scenario(user) == expected
