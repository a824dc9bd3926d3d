"""Passes, outside changes, failures and crashes in any order: what must hold for an identity always does."""

import asyncio

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from memory_lab import HOST, ID, connection, edge_device, with_identity

from edgeherd.cluster.errors import ApiError
from edgeherd.errors import ReconcileError, Stalled
from edgeherd.hub.port import Identity, RefusedError, ThrottledError, UnavailableError
from edgeherd.model import EdgeDevice, Keys, Status
from edgeherd.reconcile import credentials
from edgeherd.reconcile.steps.identity import IdentityStep
from edgeherd_sim.hub.store import Store
from edgeherd_sim.memory import CrashError, MemoryCluster, MemoryHub, Steps
from edgeherd_sim.memory.hub import identity_of

FAILURES = {
    "crash": CrashError,
    "no answer": lambda: UnavailableError("ConnectionError", ""),
    "throttled": lambda: ThrottledError("ThrottlingException", ""),
    "refused": lambda: RefusedError("IotHubUnauthorizedAccess", ""),
}
DEVICE = ("plant-a", ID)
SECRET = ("plant-a", f"{ID}-connection")


class IdentityMachine(RuleBasedStateMachine):
    """One EdgeDevice with symmetric keys, one hub, and a world that does not keep still."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = Steps()
        self.cluster = MemoryCluster(self.steps)
        self.cluster.put_device(edge_device())
        self.store = Store()
        self.hub = MemoryHub(self.store, self.steps)
        self.enabled = True
        self.deleted = False
        self.expected: Keys | None = None
        """The keys that the identity had, or must have again, unless somebody outside changes them."""
        self.foreign = False
        """Whether the identity that is there is somebody else's."""

    # ---- what the operator does

    @rule(at=st.none() | st.integers(1, 6), after=st.booleans(), failure=st.sampled_from(sorted(FAILURES)))
    @precondition(lambda self: not self.deleted)
    def a_pass(self, at: int | None, after: bool, failure: str) -> None:
        """One pass of the first two links, in which one step may go wrong."""
        error = FAILURES[failure]() if at is not None else None
        self.steps.begin(at, error, after=after)
        before = self._identity()
        try:
            asyncio.run(self._pass())
        except (ReconcileError, ApiError, CrashError):
            pass
        finally:
            self.steps.at = None
        self._learn(before)

    async def _pass(self) -> None:
        link, hub_connection = IdentityStep(self.cluster), connection()
        device = self._device()
        claim = await link.claim(device, hub_connection, self.hub)
        await link.store(device, hub_connection, claim)
        await self.cluster.put_status(device, with_identity(device.status, claim.identity, claim.origin))

    def _learn(self, before: Identity | None) -> None:
        now = self._identity()
        if before is None and now is not None:
            assert self.expected in {None, now.keys}, "an identity that came back has other keys"
            self.expected = now.keys
        elif before is not None:
            assert now is not None, "a pass deleted an identity"
            assert now.keys == before.keys, "a pass changed keys"
            assert now.generation_id == before.generation_id
            assert now == before or not self.foreign, "a pass touched what is not ours"

    @rule(at=st.none() | st.integers(1, 3), after=st.booleans(), failure=st.sampled_from(sorted(FAILURES)))
    @precondition(lambda self: not self.deleted)
    def a_deletion(self, at: int | None, after: bool, failure: str) -> None:
        """The EdgeDevice goes; its identity too, if it is ours."""
        self.steps.begin(at, FAILURES[failure]() if at is not None else None, after=after)
        before = self._identity()
        try:
            asyncio.run(self._release())
            self.deleted = True
        except (ReconcileError, ApiError, CrashError):
            pass
        finally:
            self.steps.at = None
        if self.foreign:
            assert self._identity() == before
        elif self.deleted:
            assert self._identity() is None

    async def _release(self) -> None:
        link, device = IdentityStep(self.cluster), self._device()
        await link.release(device, self.hub, await link.stored(device))

    # ---- what others do

    @rule()
    @precondition(lambda self: self._identity() is None and not self.cluster.secrets and not self.deleted)
    def somebody_registers_the_same_id(self) -> None:
        """Before we did anything."""
        self.store.put_device(ID, {"capabilities": {"iotEdge": True}}, None)
        self.foreign = True

    @rule()
    @precondition(lambda self: self._identity() is not None)
    def somebody_deletes_it(self) -> None:
        """In the portal."""
        self.store.remove(ID)
        self.foreign = False

    @rule(which=st.sampled_from(["primaryKey", "secondaryKey", "both"]))
    @precondition(lambda self: self._ours_for_certain())
    def somebody_rotates_keys(self, which: str) -> None:
        """In the portal. The hub wins."""
        self.store.rotate((ID, ""), which)
        self.expected = None

    @rule(status=st.sampled_from(["enabled", "disabled"]))
    @precondition(lambda self: self._identity() is not None)
    def somebody_sets_the_status(self, status: str) -> None:
        """In the portal."""
        self.store.set_status(ID, status)

    @rule()
    @precondition(lambda self: self._ours_for_certain())
    def somebody_takes_the_edge_flag(self) -> None:
        """By a PUT of their own."""
        found = self._identity()
        assert found is not None
        assert found.keys is not None
        keys = {"primaryKey": found.keys.primary, "secondaryKey": found.keys.secondary}
        self.store.put_device(ID, {"authentication": {"symmetricKey": keys}, "deviceScope": found.device_scope}, "*")

    @rule()
    def the_user_switches_the_status(self) -> None:
        """In the manifest."""
        self.enabled = not self.enabled
        self.cluster.edit_device(*DEVICE, enabled=self.enabled)

    @rule(twins=st.booleans())
    def the_credential_may_read_twins_or_not(self, twins: bool) -> None:
        """It makes no difference but in requests."""
        self.hub.twins = twins

    @rule()
    @precondition(lambda self: SECRET in self.cluster.secrets)
    def somebody_edits_the_secret(self) -> None:
        """A key gets lost; the hub still has it."""
        secret = self.cluster.secrets[SECRET]
        if self._ours_for_certain():
            data = {key: value for key, value in secret.data.items() if key != "connectionString"}
            self.cluster.put_secret(
                *SECRET, data, type_=secret.type, owner_uids=secret.owner_uids, annotations=secret.annotations
            )

    # ---- what must hold

    @rule()
    @precondition(lambda self: not self.deleted)
    def at_rest(self) -> None:
        """Two passes without trouble: hub and Secret agree, and a third one writes nothing."""
        for _ in range(3):
            self.a_pass(None, after=False, failure="crash")
        found = self._identity()
        assert found is not None
        if self.foreign:
            assert SECRET not in self.cluster.secrets
            return
        assert (found.iot_edge, found.enabled) == (True, self.enabled)
        assert found.keys is not None
        data = credentials.secret_data(HOST, ID, found.keys, key_in_use="Primary")
        assert self.cluster.secrets[SECRET].data == {key: value.encode() for key, value in data.items()}
        assert set(self.steps.taken) <= {"get twin", "status"} | (set() if self.hub.twins else {"get identity"})

    @invariant()
    def keys_are_in_the_cluster_before_they_are_in_the_hub(self) -> None:
        """Whatever happened: an identity that we created has its keys in the Secret, or a status that knows it."""
        found = self._identity()
        if found is None or self.foreign or self.deleted:
            return
        stored = credentials.keys_of(self.cluster.secrets.get(SECRET))
        assert found.keys == stored or self._device().status.identity.generation_id == found.generation_id

    def _device(self) -> EdgeDevice:
        return self.cluster.devices[DEVICE]

    def _identity(self) -> Identity | None:
        return identity_of(self.store, ID)

    def _ours_for_certain(self) -> bool:
        """Whether the status knows the identity that is there: what somebody outside changes then is followed."""
        found = self._identity()
        return found is not None and found.generation_id == self._device().status.identity.generation_id


TestIdentity = IdentityMachine.TestCase
TestIdentity.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_conflict_stalls() -> None:
    """With the way out in its message."""
    machine = IdentityMachine()
    machine.somebody_registers_the_same_id()
    with pytest.raises(Stalled) as caught:
        asyncio.run(machine._pass())  # noqa: SLF001 - the machine is this module's own
    assert caught.value.reason == "IdentityConflict"
    assert machine.cluster.devices[DEVICE].status == Status()
