"""The operator's rights, as the API server's audit log shows them: all are used, and no other is asked for."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from account import Account, install
from world import Managed, Team, World, condition, is_ready

from edgeherd.cluster.client import MERGE_PATCH
from edgeherd_sim.demo import scene, stage
from rights import AuditLog
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

ASKED_BY_ADMISSION = {"update edgeherd.io/edgedevices/finalizers", "delete secrets"}
"""No request needs them; the admission plugin OwnerReferencesPermissionEnforcement, which is on here, asks whether the
operator has them (`tests/manifests/test_rights.py` shows it)."""

LEADER_ELECTION = {"EDGEHERD_LEADER_ELECTION": "true"}
"""As in the Deployment."""


def audited(world: World) -> AuditLog:
    """The API server's audit log; skips where it is not to be seen."""
    if world.audit_log is None:
        pytest.skip("There is no audit log: the simulator has no RBAC, and a cluster keeps its own")
    return world.audit_log


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A device and its hub, from their beginning to their end."""

    team: Team

    @property
    def world(self) -> World:
        """Where it happens."""
        return self.team.world

    async def hub(self) -> str:
        """A hub for the namespaces with a label, which the operator has to look up."""
        name = f"chosen-{self.team.namespace}"
        chosen = {"from": "Selector", "selector": {"matchLabels": {"plant": "yes"}}}
        await self.world.kubectl.apply(self.world.hub_connection(name, "hub", allowedNamespaces=chosen))
        return name

    async def run(self) -> None:
        """Trusted on first use, drifted twice, without an owner, renewed, deleted; then the hub goes too."""
        hub, store = await self.hub(), self.world.hub.store
        first_use = {"hostKeys": None, "hostKeyPolicy": "TrustOnFirstUse"}
        managed = await self.team.ready(self.world.device(), hubRef={"name": hub}, ssh=first_use)
        for _ in range(2):  # the second Event counts in the first
            store.set_status(managed.device_id, "disabled")
            await managed.look_now()
        await self.lose_owner(managed)
        await managed.annotate("edgeherd.io/renew-key", "Secondary")
        await until(self.has_owner(managed))
        await managed.until(is_ready)
        await managed.delete()
        await managed.until_gone()
        await self.world.kubectl("delete", "hubconnection", hub, "--timeout=30s")

    def secret(self, managed: Managed) -> str:
        """The path of the connection Secret."""
        return f"/api/v1/namespaces/{self.team.namespace}/secrets/{managed.name}-connection"

    async def lose_owner(self, managed: Managed) -> None:
        """As `kubectl delete --cascade=orphan` and a restored backup leave the connection Secret."""
        body = {"metadata": {"ownerReferences": None}}
        await self.world.cluster.request("PATCH", self.secret(managed), body=body, content_type=MERGE_PATCH)

    def has_owner(self, managed: Managed) -> Callable[[], Awaitable[bool]]:
        """Whether the Secret has an owner again."""

        async def look() -> bool:
            secret = await self.world.cluster.find(self.secret(managed))
            return bool(secret and secret["metadata"].get("ownerReferences"))

        return look


@contextlib.asynccontextmanager
async def alone(world: World) -> AsyncIterator[None]:
    """Without the operator of the other tests."""
    await world.stop_operator()
    try:
        yield
    finally:
        await world.start_operator()


async def spend_a_life(world: World, team: Team, account: Account, **environment: str) -> None:
    """With an operator of its own, so that its start is seen too; whatever it was granted it must use."""
    log = audited(world)
    since = log.size
    await world.kubectl("delete", "lease", "--all", "-n", world.namespace)  # an earlier operator's
    told = scene.operator_environment(account.kubeconfig, world.hub.facts(), namespace=world.namespace)
    async with stage.operator({**told, **LEADER_ELECTION, **environment}, folder=world.folder):
        await Life(team=team).run()
    assert log.denied(account.user, since=since) == set()
    assert account.granted - log.asked(account.user, since=since) == ASKED_BY_ADMISSION


async def test_all_rights_in_the_whole_cluster_are_used_and_no_other_is_asked_for(world: World) -> None:
    """From the operator's start to the end of a hub."""
    audited(world)
    assert world.account is not None
    async with alone(world), world.team(plant="yes") as team:
        await spend_a_life(world, team, world.account)


async def test_all_rights_in_watched_namespaces_are_used_and_no_other_is_asked_for(world: World) -> None:
    """And another namespace's device stays as it is."""
    audited(world)
    async with alone(world), world.team(plant="yes") as team, world.team(plant="yes") as others:
        account = await install(
            world.kubectl,
            world.folder,
            namespace=world.namespace,
            run=f"{world.namespace.removeprefix('edgeherd-')}-watching",
            mode="namespaced",
            watched=(team.namespace,),
        )
        left_alone = await others.apply(others.manifest(world.device()))
        await spend_a_life(world, team, account, EDGEHERD_WATCH_NAMESPACES=team.namespace)
        body = await left_alone.get()
        assert body is not None
        assert (condition(body, "Ready"), body["metadata"].get("finalizers")) == ({}, None)
