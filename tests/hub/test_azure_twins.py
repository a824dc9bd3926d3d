"""What the adapter reads from twins and writes into them, with the real SDK against the emulator."""

import dataclasses

import pytest
from hub_lab import KEYS, Lab, outcome

from edgeherd.hub.port import Owner, PreconditionFailedError, ThrottledError, Twin
from edgeherd_sim.hub.faults import Kind

OWNER = Owner(uid="u1", namespace="plant-a", name="press-01")


async def test_a_twin_tells_the_identitys_etag_and_whose_it_is(lab: Lab) -> None:
    """Tags of others stay when ours is written, and make nobody an owner."""
    adapter = lab.open(policy="iothubowner")
    created = await adapter.create("press-01", KEYS, enabled=True)
    lab.hub.store.patch_twin(("press-01", ""), {"tags": {"line": 7}}, "*")
    before = await adapter.twin("press-01")
    assert before is not None
    assert before == Twin(etag=before.etag, device_etag=created.etag, owner=None)
    assert await adapter.mark("press-01", OWNER, etag=before.etag)
    after = await adapter.twin("press-01")
    assert after is not None
    assert after == Twin(etag=after.etag, device_etag=created.etag, owner=OWNER)
    _, stored = lab.hub.store.twin(("press-01", ""))
    assert stored.tags == {"line": 7, "edgeherd": dataclasses.asdict(OWNER)}


async def test_a_mark_for_another_version_of_the_twin_is_refused(lab: Lab) -> None:
    """Somebody else was faster."""
    adapter = lab.open(policy="iothubowner")
    await adapter.create("press-01", KEYS, enabled=True)
    before = await adapter.twin("press-01")
    assert before is not None
    await adapter.mark("press-01", dataclasses.replace(OWNER, uid="u2"), etag="*")
    assert (await outcome(adapter.mark("press-01", OWNER, etag=before.etag)))[0] is PreconditionFailedError  # type: ignore[index]


@pytest.mark.parametrize(
    "tag",
    [
        pytest.param("somebody", id="a text"),
        pytest.param({"uid": "u1"}, id="no name"),
        pytest.param({"uid": 1, "namespace": "a", "name": "b"}, id="a number"),
    ],
)
async def test_a_tag_of_another_form_names_no_owner(lab: Lab, tag: object) -> None:
    """Whoever wrote it meant something else."""
    adapter = lab.open(policy="iothubowner")
    await adapter.create("press-01", KEYS, enabled=True)
    lab.hub.store.patch_twin(("press-01", ""), {"tags": {"edgeherd": tag}}, "*")
    found = await adapter.twin("press-01")
    assert found is not None
    assert found.owner is None


async def test_a_credential_without_twins_is_asked_once(lab: Lab) -> None:
    """Then the registry decides, without a request that is refused each time."""
    adapter = lab.open(policy="registryReadWrite")
    await adapter.create("press-01", KEYS, enabled=True)
    lab.hub.requests.clear()
    for _ in range(3):
        assert (await adapter.twin("press-01"), await adapter.mark("press-01", OWNER, etag="*")) == (None, False)
    assert lab.asked == [("GET", "/twins/press-01", 401), ("PATCH", "/twins/press-01", 401)]


async def test_trouble_is_no_answer(lab: Lab) -> None:
    """A twin that cannot be read now is not one that is not there; that one is told apart."""
    adapter = lab.open(policy="iothubowner")
    assert await adapter.twin("press-01") is None
    lab.hub.faults.add(Kind.THROTTLE, count=1)
    assert (await outcome(adapter.twin("press-01")))[0] is ThrottledError  # type: ignore[index]
