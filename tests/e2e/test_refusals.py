"""What the API server refuses: it shows where people look, in the server's words, and goes on when it is mended."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from world import Body, Managed, Team, World, assert_whole, because, condition, is_ready

from edgeherd.cluster.client import MERGE_PATCH, path
from edgeherd.cluster.errors import ApiError
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

JSON = "application/json"
REFUSED = because("KubernetesRefused")


def secret_path(managed: Managed) -> str:
    """The path of the connection Secret."""
    return path("", "v1", "secrets", namespace=managed.team.namespace, name=f"{managed.name}-connection")


async def require_admission(world: World) -> None:
    """Skips on the simulator, which lets everything in that fits its schema."""
    version = await world.cluster.request("GET", "/version")
    if "simulator" in version["gitVersion"]:
        pytest.skip("The simulator has no quotas and no admission policies")


async def create(world: World, where: str, body: Body) -> None:
    """Create an object."""
    await world.cluster.request("POST", where, body=body, content_type=JSON)


async def assert_told(managed: Managed, type_: str, words: str) -> None:
    """On the condition that it is about, on Ready and in one Event."""
    body = await managed.until(REFUSED)
    said, ready = condition(body, type_), condition(body, "Ready")
    assert (said["reason"], said["message"]) == ("KubernetesRefused", ready["message"])
    assert words in ready["message"]
    assert ready["message"].endswith("It is tried again every minute.")

    async def is_told() -> bool:
        return (await managed.team.events(managed.name)).count("KubernetesRefused") == 1

    await until(is_told)


async def test_an_immutable_secret_is_told_and_healed(world: World) -> None:
    """Somebody made the connection Secret immutable, so the key in use cannot be switched. Without it all goes on."""
    async with world.team() as team:
        device = world.device()
        managed = await team.ready(device)
        await world.cluster.request("PATCH", secret_path(managed), body={"immutable": True}, content_type=MERGE_PATCH)
        await managed.patch(identity={"keyInUse": "Secondary"})
        await assert_told(managed, "SecretReady", "field is immutable when `immutable` is set")
        await world.cluster.request("DELETE", secret_path(managed))
        await managed.look_now()
        await managed.until(is_ready)
        await assert_whole(managed, device, key_in_use="Secondary")


async def test_a_quota_of_secrets_is_told(world: World) -> None:
    """The first pass does not look as if it went on for ever; nothing is in the hub before its keys are in the cluster."""
    await require_admission(world)
    async with world.team() as team:
        device = world.device()
        quotas = path("", "v1", "resourcequotas", namespace=team.namespace)
        hard = {"count/secrets": "1"}  # the SSH Secret
        await create(world, quotas, {"metadata": {"name": "few"}, "spec": {"hard": hard}})
        # A controller writes it, where there is one.
        status = {"status": {"hard": hard, "used": hard}}
        await world.cluster.request("PATCH", f"{quotas}/few/status", body=status, content_type=MERGE_PATCH)
        await until(lambda: _is_full(world, quotas))
        managed = await team.apply(team.manifest(device))
        await assert_told(managed, "SecretReady", "exceeded quota: few, requested: count/secrets=1")
        assert managed.device_id not in {identity.device_id for identity in world.hub.store.devices()}
        await world.cluster.request("DELETE", f"{quotas}/few")
        await managed.look_now()
        await managed.until(is_ready)
        await assert_whole(managed, device)


async def _is_full(world: World, quotas: str) -> bool:
    """Whether the API server goes by the quota: it learns of one by its own watch."""
    probe = {"metadata": {"name": "probe"}}
    try:
        await world.cluster.request(
            "POST", quotas.replace("resourcequotas", "secrets") + "?dryRun=All", body=probe, content_type=JSON
        )
    except ApiError as exc:
        return exc.status == 403
    return False


@contextlib.asynccontextmanager
async def policy(team: Team, resource: tuple[str, str], expression: str) -> AsyncIterator[None]:
    """A ValidatingAdmissionPolicy for the team's namespace; what the expression is not true of is refused."""
    world, name = team.world, f"e2e-{team.namespace}"
    group, plural = resource
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [plural]}
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team.namespace}},
        },
        "validations": [{"expression": expression, "message": "the platform says no"}],
    }
    policies = path("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
    bindings = path("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings")
    await create(world, policies, {"metadata": {"name": name}, "spec": spec})
    bound = {"policyName": name, "validationActions": ["Deny"]}
    await create(world, bindings, {"metadata": {"name": name}, "spec": bound})
    try:
        yield
    finally:
        for where in (bindings, policies):
            await world.cluster.request("DELETE", f"{where}/{name}")


async def _is_denied(team: Team) -> bool:
    """Whether the API server goes by the policy: it learns of one by its own watch."""
    where = path("", "v1", "secrets", namespace=team.namespace)
    probe = {"metadata": {"name": "probe"}, "type": "edgeherd.io/device-connection"}
    try:
        await team.world.cluster.request("POST", f"{where}?dryRun=All", body=probe, content_type=JSON)
    except ApiError as exc:
        return "the platform says no" in exc.message
    return False


async def test_a_policy_that_refuses_is_told(world: World) -> None:
    """And the deletion of what was refused does not wait for anybody."""
    await require_admission(world)
    async with world.team() as team:
        async with policy(team, ("", "secrets"), "object.type != 'edgeherd.io/device-connection'"):
            await until(lambda: _is_denied(team))
            managed = await team.apply(team.manifest(world.device()))
            await assert_told(managed, "SecretReady", "denied request: the platform says no")
        await managed.delete()
        await managed.until_gone()
        assert managed.device_id not in {identity.device_id for identity in world.hub.store.devices()}


async def test_a_policy_against_finalizers_is_no_conflict(world: World) -> None:
    """It answers a JSON patch with 422, as an object does that changed meanwhile; that one is tried again at once."""
    await require_admission(world)
    async with world.team() as team:
        rule = "!has(object.metadata.finalizers)"
        async with policy(team, ("edgeherd.io", "edgedevices"), rule):
            managed = await team.apply(team.manifest(world.device(), suspend=True))

            await until(lambda: _may_be_held(managed, "no"))
            await managed.patch(suspend=False)
            await assert_told(managed, "IdentityReady", "denied request: the platform says no")
        await until(lambda: _may_be_held(managed, "yes"))
        await managed.look_now()
        await managed.until(is_ready)


async def _may_be_held(managed: Managed, answer: str) -> bool:
    """Whether the API server's answer to a finalizer is this."""
    body = {"metadata": {"finalizers": ["example.net/probe"]}}
    where = path("edgeherd.io", "v1alpha1", "edgedevices", namespace=managed.team.namespace, name=managed.name)
    try:
        await managed.team.world.cluster.request("PATCH", f"{where}?dryRun=All", body=body, content_type=MERGE_PATCH)
    except ApiError as exc:
        return answer == "no" and "the platform says no" in exc.message
    return answer == "yes"
