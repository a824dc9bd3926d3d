"""Passes, outside changes, failures and crashes in any order: what must hold for an identity always does."""

import asyncio
from typing import TYPE_CHECKING

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from memory_lab import HOST, ID, KEY, Lab

from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.hub.port import Identity, RefusedError, ThrottledError, UnavailableError
from edgeherd.reconcile import credentials
from edgeherd_sim.memory import CrashError
from edgeherd_sim.memory.hub import identity_of

if TYPE_CHECKING:
    from edgeherd.model import Keys

FAILURES = {
    "crash": CrashError,
    "forbidden": lambda: ForbiddenError(403, "exceeded quota"),
    "no answer": lambda: UnavailableError("ConnectionError", ""),
    "throttled": lambda: ThrottledError("ThrottlingException", ""),
    "refused": lambda: RefusedError("IotHubUnauthorizedAccess", ""),
}
SECRET = ("plant-a", f"{ID}-connection")


class IdentityMachine(RuleBasedStateMachine):
    """One EdgeDevice with symmetric keys, one hub, and a world that does not keep still."""

    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab()
        self.cluster, self.store, self.hub, self.steps = self.lab.cluster, self.lab.store, self.lab.hub, self.lab.steps
        self.enabled = True
        self.deleting = False
        self.expected: Keys | None = None
        """The keys that the identity had, or must have again, unless somebody outside changes them."""
        self.foreign = False
        """Whether the identity that is there is somebody else's."""

    # ---- what the operator does

    @rule(at=st.none() | st.integers(1, 14), after=st.booleans(), failure=st.sampled_from(sorted(FAILURES)))
    @precondition(lambda self: not self.deleting)
    def a_pass(self, at: int | None, after: bool, failure: str) -> None:
        """One pass, in which one side effect may go wrong."""
        before = self._identity()
        self._reconcile(at, failure, after=after)
        self._learn(before)

    def _reconcile(self, at: int | None, failure: str, *, after: bool) -> None:
        self.lab.time.seconds += 1
        self.steps.begin(at, FAILURES[failure]() if at is not None else None, after=after)
        try:
            asyncio.run(self.lab.reconciler.reconcile(KEY))
        except ApiError:
            pass
        except CrashError:
            self.lab.restart_operator()
        finally:
            self.steps.at = None

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

    @rule(at=st.none() | st.integers(1, 8), after=st.booleans(), failure=st.sampled_from(sorted(FAILURES)))
    @precondition(lambda self: not self.gone)
    def a_deletion(self, at: int | None, after: bool, failure: str) -> None:
        """The EdgeDevice goes; its identity too, if it is ours."""
        if not self.deleting:
            self.lab.delete()
            self.deleting = True
        before = self._identity()
        self._reconcile(at, failure, after=after)
        if self.foreign:
            assert self._identity() == before
        elif self.gone and self._identity() is not None:
            assert not self.hub.twins, "what our mark shows to be ours was left behind"
            assert not credentials.share_one(self._stored_keys(), before.keys if before else None)

    @property
    def gone(self) -> bool:
        """Whether the object is."""
        return not self.cluster.devices

    # ---- what others do

    @rule()
    @precondition(lambda self: self._identity() is None and SECRET not in self.cluster.secrets and not self.deleting)
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
    @precondition(lambda self: not self.gone)
    def the_user_switches_the_status(self) -> None:
        """In the manifest."""
        self.enabled = not self.enabled
        self.lab.edit(enabled=self.enabled)

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
    @precondition(lambda self: not self.deleting)
    def at_rest(self) -> None:
        """Some passes without trouble: hub and Secret agree, and one more writes nothing."""
        for _ in range(5):
            self.a_pass(None, after=False, failure="crash")
        found = self._identity()
        assert found is not None
        if self.foreign:
            assert SECRET not in self.cluster.secrets
            return
        if self.lab.told["IdentityReady"] == "False IdentityConflict":
            assert not self.hub.twins, "our mark proves it"
            assert not credentials.share_one(self._stored_keys(), found.keys)
            return
        assert (found.iot_edge, found.enabled) == (True, self.enabled)
        assert found.keys is not None
        data = credentials.secret_data(HOST, ID, found.keys, key_in_use="Primary")
        assert self.cluster.secrets[SECRET].data == {key: value.encode() for key, value in data.items()}
        looks = {"get twin", "connect h", "observe"} | (set() if self.hub.twins else {"get identity", "tag twin"})
        assert set(self.steps.taken) <= looks

    @invariant()
    def keys_are_in_the_cluster_before_they_are_in_the_hub(self) -> None:
        """Whatever happened: an identity that we created has its keys in the Secret, or a status that knows it."""
        found = self._identity()
        if found is None or self.foreign or self.gone:
            return
        assert found.keys == self._stored_keys() or self.lab.device.status.identity.generation_id == found.generation_id

    def _stored_keys(self) -> "Keys | None":
        return credentials.keys_of(self.cluster.secrets.get(SECRET))

    def _identity(self) -> Identity | None:
        return identity_of(self.store, ID)

    def _ours_for_certain(self) -> bool:
        """Whether the status knows the identity that is there: what somebody outside changes then is followed."""
        found = self._identity()
        return (
            found is not None and not self.gone and found.generation_id == self.lab.device.status.identity.generation_id
        )


TestIdentity = IdentityMachine.TestCase
TestIdentity.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_conflict_stalls() -> None:
    """Nothing is written but what says so."""
    machine = IdentityMachine()
    machine.somebody_registers_the_same_id()
    machine.a_pass(None, after=False, failure="crash")
    assert machine.lab.told["IdentityReady"] == "False IdentityConflict"
    assert (SECRET in machine.cluster.secrets, machine.lab.told["Stalled"]) == (False, "True IdentityConflict")
