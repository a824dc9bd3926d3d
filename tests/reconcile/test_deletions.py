"""What happens when things are deleted: what holds what, what is told, and what is found again when something got lost."""

import dataclasses
from typing import Any

import pytest
from memory_lab import Lab, connection

from edgeherd.model import FINALIZER, EdgeDevice, Priority
from edgeherd.reconcile.requeue import Requeue

HUB_IS_GOING = {"deleted_at": "2026-01-01T00:00:00Z", "finalizers": ("edgeherd.io/in-use",)}


# ---- a HubConnection that is being deleted


async def test_a_new_device_does_not_enter_a_hub_that_is_being_deleted() -> None:
    """It says what to do, holds nothing, goes at once when it is deleted, and is not asked about in the hub."""
    lab = Lab()
    lab.cluster.edit_hub("contoso", **HUB_IS_GOING)
    assert await lab.reconcile() == Requeue(60, Priority.DRIFT)
    assert (lab.steps.taken, lab.told["IdentityReady"]) == (["status", "status"], "Unknown HubDeleting")
    assert lab.condition("Ready").message == (
        "HubConnection 'contoso' is being deleted, so it takes no new EdgeDevice. Delete this one, or wait: it goes on when the "
        "HubConnection has been created anew."
    )
    assert (lab.device.finalizers, lab.device.uses_hub) == ((), False)
    lab.cluster.edit_hub("contoso", finalizers=())
    lab.cluster.put_hub(connection())
    await lab.until_ready()


async def test_one_that_is_in_stays_in() -> None:
    """It is looked after as ever, and so is its own deletion."""
    lab = Lab()
    await lab.until_ready()
    lab.cluster.edit_hub("contoso", **HUB_IS_GOING)
    await lab.reconcile()
    assert (lab.steps.taken, lab.told["Ready"]) == (["get twin", "connect h", "observe"], "True Ready")
    lab.delete()
    await lab.reconcile()
    assert (lab.cluster.devices, lab.store.devices()) == ({}, [])


async def test_of_a_deletion_and_an_entry_at_the_same_time_one_sees_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The HubConnection was marked while the device was let in: nothing is created, and the next pass lets go."""
    lab = Lab()
    add = lab.cluster.add_finalizer

    async def meanwhile(device: EdgeDevice) -> EdgeDevice:
        lab.cluster.edit_hub("contoso", **HUB_IS_GOING)
        return await add(device)

    monkeypatch.setattr(lab.cluster, "add_finalizer", meanwhile)
    await lab.reconcile()
    assert lab.steps.taken == ["status", "add finalizer", "remove finalizer", "status"]
    assert (lab.told["Ready"], lab.device.uses_hub, lab.store.devices()) == ("False HubDeleting", False, [])


@pytest.mark.parametrize(
    ("hub", "stays"),
    [
        pytest.param({"device_id_pattern": "other-*"}, False, id="the rules do not allow it any more"),
        pytest.param(HUB_IS_GOING, False, id="the HubConnection is being deleted"),
        pytest.param({}, True, id="it may use the hub"),
    ],
)
async def test_the_finalizer_of_one_that_has_nothing_in_the_hub(hub: dict[str, Any], stays: bool) -> None:
    """A crash came between the finalizer and the creation; who may not go on lets the HubConnection go."""
    lab = Lab()
    lab.edit(finalizers=(FINALIZER,))
    lab.cluster.edit_hub("contoso", **hub)
    await lab.reconcile()
    assert (FINALIZER in lab.device.finalizers) is stays


async def test_a_claimant_in_a_hub_that_is_being_deleted_blocks_nobody() -> None:
    """It cannot have the identity any more."""
    lab = Lab()
    lab.cluster.put_hub(dataclasses.replace(connection(), name="old", uid="h0", **HUB_IS_GOING))
    lab.index.update_hub(lab.cluster.hubs["old"])
    lab.another("older", older=True, hub_name="old")
    await lab.until_ready()
