"""What goes wrong in memory: before a step or after it, as a refusal of that port or as a crash."""

import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from edgeherd import resource
from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.device.port import (
    Action,
    Change,
    Initialization,
    Login,
    LoginRefusedError,
    Query,
    UnreachableError,
)
from edgeherd.hub.port import (
    AlreadyExistsError,
    HubError,
    Identity,
    InvalidError,
    Listed,
    PreconditionFailedError,
    RefusedError,
    UnavailableError,
)
from edgeherd.model import FINALIZER, IN_USE_FINALIZER, RENEW_KEY, Keys, Status
from edgeherd_sim.memory import CrashError, Event, MemoryCluster, MemoryDevice, MemoryHub, MemoryNetwork, Steps
from edgeherd_sim.memory.device import digest
from edgeherd_sim.memory.hub import identity_of

SSH = {"host": "h", "user": "u", "credentialsSecretRef": {"name": "ssh"}}
KEYS = Keys(primary="b25lIG9uZSBvbmUgb25lIQ==", secondary="dHdvIHR3byB0d28gdHdvIQ==")
LOGIN = Login(host="h", port=22, user="u")
PATH = "/etc/iotedge/config.yaml"
CHANGE = Change(path=PATH, before=digest(b"old"), content=b"new", unit="iotedge.service", action=Action.RESTART)


class World:
    """All ports, which share their steps."""

    def __init__(self) -> None:
        self.steps = Steps()
        self.cluster = MemoryCluster(self.steps)
        self.hub = MemoryHub(steps=self.steps)
        self.machine = MemoryDevice(files={PATH: b"old"}, steps=self.steps)
        self.network = MemoryNetwork(self.machine, self.steps)
        self.network.keys = {"h": "ssh-ed25519 AAAA"}
        metadata = {"namespace": "plant-a", "name": "press-01", "uid": "u1", "generation": 1, "resourceVersion": ""}
        body = {
            "metadata": {**metadata, "creationTimestamp": "", "annotations": {RENEW_KEY: "Primary"}},
            "spec": {"hubRef": {"name": "contoso"}, "ssh": SSH},
        }
        self.cluster.put_device(resource.edge_device(body))
        spec = {"hostName": "c", "auth": {}, "allowedNamespaces": {"from": "All"}}
        self.fresh = MemoryDevice(files=self.machine.files, path="/etc/fresh.yaml", steps=self.steps)
        self.device = self.cluster.edit_device("plant-a", "press-01", finalizers=(FINALIZER,))
        self.hub.store.put_device("press-01", {"capabilities": {"iotEdge": True}}, None)
        hub = {"metadata": {"name": "contoso", "uid": "h", "generation": 1, "resourceVersion": "1"}, "spec": spec}
        self.contoso = self.cluster.put_hub(resource.hub_connection(hub))
        self.held = self.cluster.put_hub(dataclasses.replace(self.contoso, name="held", finalizers=(IN_USE_FINALIZER,)))

    def state(self) -> object:
        """Whatever a step can change."""
        cluster = self.cluster
        kept = (dict(cluster.devices), dict(cluster.hubs), dict(cluster.secrets), list(cluster.events))
        return kept, dict(self.hub.store.identities), dict(self.machine.files), list(self.network.logins)

    def gone(self) -> Identity:
        """One that somebody deleted."""
        found = self.identity()
        self.hub.store.remove("press-01")
        return found

    def stale(self) -> Identity:
        """One that somebody changed."""
        found = self.identity()
        self.hub.store.set_status("press-01", "disabled")
        return found

    async def connect(self) -> None:
        """A session, and no more."""
        async with self.network.connect(LOGIN):
            pass

    def identity(self) -> Identity:
        """An identity that is there already."""
        found = identity_of(self.hub.store, "press-01")
        assert found is not None
        return found


Call = Callable[[World], Awaitable[object]]
Port = tuple[Exception, type[Exception]]
"""An error of the port's own, and what it says when there is no answer."""

CLUSTER: Port = (ConflictError(409, "x"), ApiError)
HUB: Port = (RefusedError("x", "x"), UnavailableError)
DEVICE: Port = (LoginRefusedError("x"), UnreachableError)
CHANGES: list[tuple[str, Port, Call]] = [
    ("create press-01-connection", CLUSTER, lambda w: w.cluster.put_connection_secret(w.device, {}, annotations={}, create=True)),
    ("update press-01-known-hosts", CLUSTER, lambda w: w.cluster.put_known_hosts(w.device, "", create=False)),
    ("add finalizer", CLUSTER, lambda w: w.cluster.add_finalizer(w.device)),
    ("remove finalizer", CLUSTER, lambda w: w.cluster.remove_finalizer(w.device)),
    ("add hub finalizer", CLUSTER, lambda w: w.cluster.add_hub_finalizer(w.contoso)),
    ("remove hub finalizer", CLUSTER, lambda w: w.cluster.remove_hub_finalizer(w.held)),
    ("forget renewal", CLUSTER, lambda w: w.cluster.forget_renewal(w.device)),
    ("status", CLUSTER, lambda w: w.cluster.put_status(w.device, Status(observed_generation=1))),
    ("event x", CLUSTER, lambda w: w.cluster.event(w.device, warning=True, reason="x", message="y")),
    ("hub status", CLUSTER, lambda w: w.cluster.put_hub_status(w.contoso, (), 1, handled="")),
    ("create identity", HUB, lambda w: w.hub.create("press-02", KEYS, enabled=True)),
    ("update identity", HUB, lambda w: w.hub.update(w.identity(), enabled=False, credentials=KEYS)),
    ("delete identity", HUB, lambda w: w.hub.delete(w.identity())),
    ("restart", DEVICE, lambda w: w.machine.apply(CHANGE)),
    ("initialize", DEVICE, lambda w: w.fresh.initialize(Initialization(connection_string="x", container_os="Linux"))),
    ("connect h", DEVICE, lambda w: w.connect()),
]  # fmt: skip
LOOKS: list[tuple[str, Port, Call]] = [
    ("get identity", HUB, lambda w: w.hub.get("press-01")),
    ("probe hub", HUB, lambda w: w.hub.probe()),
    ("list edge devices", HUB, lambda w: w.hub.edge_devices()),
    ("observe", DEVICE, lambda w: w.machine.observe(Query())),
    ("check", DEVICE, lambda w: w.machine.check()),
    ("ask h", DEVICE, lambda w: w.network.host_key(LOGIN)),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("what", "port", "call"), CHANGES + LOOKS, ids=[what for what, *_ in CHANGES + LOOKS])
async def test_every_step_can_go_wrong(what: str, port: Port, call: Call, after: bool) -> None:
    """By what the port may raise, by a crash, and never by another port's error; only what is done leaves a trace."""
    own, no_answer = port
    for error, expected in ((own, type(own)), (CrashError(), CrashError), (RuntimeError("another's"), no_answer)):
        world = World()
        before = world.state()
        world.steps.begin(1, error, after=after)
        with pytest.raises(expected) as caught:
            await call(world)
        assert (type(caught.value), world.steps.taken) == (expected, [what])
        changes = after and (what, port, call) in CHANGES
        assert (world.state() != before) is changes


async def test_only_the_chosen_step_goes_wrong() -> None:
    """Those before and after it are well."""
    world = World()
    world.steps.begin(2, CrashError())
    await world.hub.get("press-01")
    with pytest.raises(CrashError):
        await world.hub.get("press-01")
    await world.hub.get("press-01")
    assert world.steps.taken == ["get identity"] * 3


@pytest.mark.parametrize("after", [False, True])
async def test_what_is_a_courtesy_fails_in_silence(after: bool) -> None:
    """What a module's twin says; but a crash is a crash."""
    world = World()
    world.steps.begin(1, RuntimeError(), after=after)
    assert await world.hub.agent_connected("press-01") is None
    world.steps.begin(1, CrashError(), after=after)
    with pytest.raises(CrashError):
        await world.hub.agent_connected("press-01")


async def test_an_event_is_kept_as_it_was_told() -> None:
    """As much of it as the API server takes."""
    world = World()
    await world.cluster.event(world.device, warning=True, reason="Why", message="y" * 2000)
    assert world.cluster.events == [Event(device="press-01", warning=True, reason="Why", message="y" * 1021 + "...")]


async def test_what_a_deleted_device_owned_goes_with_it() -> None:
    """That is the garbage collector's work; what is somebody else's too stays."""
    cluster = World().cluster
    cluster.edit_device("plant-a", "press-01", finalizers=())
    for name, owners in {"ours": ("u1",), "both": ("u1", "u2"), "theirs": ()}.items():
        cluster.put_secret("plant-a", name, {}, owner_uids=owners)
    cluster.delete_device("plant-a", "press-01")
    assert sorted(name for _, name in cluster.secrets) == ["both", "theirs"]


async def test_the_hubs_list() -> None:
    """Edge devices only; with the modules that the hub made."""
    world = World()
    world.hub.store.put_device("leaf", {}, None)
    world.hub.store.touch(("press-01", ""))
    (listed,) = await world.hub.edge_devices()
    expected = Listed(
        device_id="press-01", enabled=True, authentication="sas", connected=True, last_activity="", modules=2
    )
    assert dataclasses.replace(listed, last_activity="") == expected
    assert listed.last_activity.endswith("Z")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(lambda w: w.hub.create("press-01", KEYS, enabled=True), AlreadyExistsError, id="it is there"),
        pytest.param(lambda w: w.hub.update(w.gone(), enabled=True, credentials=KEYS), PreconditionFailedError, id="it is gone"),
        pytest.param(lambda w: w.hub.update(w.stale(), enabled=True, credentials=KEYS), PreconditionFailedError, id="it changed"),
        pytest.param(lambda w: w.hub.delete(w.stale()), PreconditionFailedError, id="it changed before its deletion"),
        pytest.param(lambda w: w.hub.create("no/id", KEYS, enabled=True), InvalidError, id="no id"),
    ],
)  # fmt: skip
async def test_what_the_hub_refuses(call: Call, expected: type[HubError]) -> None:
    """As the adapter says it."""
    with pytest.raises(expected):
        await call(World())


async def test_what_is_gone_need_not_be_deleted() -> None:
    """The hub's 404 is no trouble."""
    world = World()
    gone = world.gone()
    await world.hub.delete(gone)
    assert world.hub.store.identities == {}


async def test_what_is_applied_again_keeps_what_is_the_servers() -> None:
    """A manifest has no status, and says nothing of finalizers."""
    world = World()
    cluster = world.cluster
    await cluster.put_status(world.device, Status(observed_generation=1))
    before = cluster.devices["plant-a", "press-01"]
    manifest = dataclasses.replace(before, uid="", finalizers=(), status=Status(), generation=7, renew_key="")
    after = cluster.put_device(manifest)
    assert after == dataclasses.replace(before, renew_key="", resource_version=after.resource_version)
    again = cluster.put_device(dataclasses.replace(manifest, enabled=False))
    assert (again.generation, again.enabled, again.status) == (2, False, before.status)
    await cluster.put_hub_status(world.contoso, (), 1, handled="")
    assert cluster.put_hub(world.contoso).generation == 1
    hub = cluster.put_hub(dataclasses.replace(world.contoso, port=8443))
    assert (hub.generation, hub.port, hub.observed_generation) == (2, 8443, 1)
    for name in ("contoso", "held"):
        cluster.delete_hub(name)
    assert [(name, found.deleting, found.generation) for name, found in cluster.hubs.items()] == [("held", True, 2)]
