"""What is told of a device and of a HubConnection: one line for each transition, none at rest, and an Event beside most."""

import dataclasses
import logging
from typing import Any

import pytest
from memory_lab import HOST, ID, NAMESPACE, YAML_PATH, Lab, Time, connection, fresh

from edgeherd.cluster.errors import ApiError
from edgeherd.device.port import UnreachableError
from edgeherd.model import Key
from edgeherd.reconcile.hub_clients import HubClients
from edgeherd.reconcile.hub_connection import HubConnectionReconciler
from edgeherd_sim.memory import MemoryCluster, MemoryHubClient


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines since this was last asked: level, object and reason."""
    found = [f"{record.levelname} {'/'.join(record.key)} {record.reason}" for record in caplog.records]  # type: ignore[attr-defined]
    caplog.clear()
    return found


def of_device(*said: str) -> list[str]:
    """The same, of the usual device: 'Ready', or 'WARNING DeletionBlocked'."""
    split = [one.rpartition(" ") for one in said]
    return [f"{level or 'INFO'} EdgeDevice/plant-a/{ID} {reason}" for level, _, reason in split]


def drift(lab: Lab) -> None:
    """Somebody edits the file by hand."""
    lab.memory.files[YAML_PATH] = lab.memory.files[YAML_PATH].replace(b"\nhostname:", b"\nhostname: 'other' # ")


async def test_a_whole_life(caplog: pytest.LogCaptureFixture) -> None:
    """Created, at rest, drifted, refused, deleted with a hub that is away: each once, whatever number of passes it takes."""
    lab = Lab(runtime={"hostname": "press"})
    await lab.until_ready()
    assert lines(caplog) == of_device("IdentityCreated", "ConfigApplied", "DaemonRestarted", "Ready")
    for _ in range(10):
        await lab.reconcile(after=900)
    assert lines(caplog) == []

    drift(lab)
    await lab.until_ready()
    assert lines(caplog) == of_device("ConfigDriftCorrected", "WARNING DaemonRestarted", "Ready")

    lab.cluster.put_secret("plant-a", "ssh", {}, type_="kubernetes.io/basic-auth")
    for _ in range(5):
        await lab.reconcile(after=60)
    assert lines(caplog) == of_device("WARNING SshSecretInvalid")
    lab.put_ssh_secret()
    await lab.until_ready()
    assert lines(caplog) == of_device("Ready")

    hub = lab.cluster.hubs.pop("contoso")
    lab.delete()
    for _ in range(5):
        await lab.reconcile(after=60)
    assert lines(caplog) == of_device("WARNING DeletionBlocked")
    lab.cluster.put_hub(hub)
    await lab.reconcile(after=60)
    await lab.reconcile()
    assert lines(caplog) == of_device("IdentityReleased", "Deleted")


async def test_a_planned_change_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A host name, and a state of the identity: what the spec asks for is neither a correction nor a trouble."""
    lab = Lab()
    await lab.until_ready()
    caplog.clear()
    lab.cluster.events.clear()
    lab.edit(runtime=dataclasses.replace(lab.device.runtime, hostname="press-new"))
    await lab.until_ready()
    assert lines(caplog) == of_device("ConfigApplied", "DaemonRestarted", "Ready")
    lab.edit(enabled=False)
    await lab.reconcile(after=1)
    assert lines(caplog) == of_device("IdentityUpdated", "WARNING IdentityDisabled")
    told = [(event.reason, event.warning) for event in lab.cluster.events]
    assert told == [
        ("ConfigApplied", False),
        ("DaemonRestarted", False),
        ("Ready", False),
        ("IdentityUpdated", False),
        ("IdentityDisabled", True),
    ]


async def test_what_waits_from_the_beginning_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """It is no Event until it lasts; then it is one, though the reason is the same."""
    lab = Lab()
    lab.network.error = UnreachableError("the connection was refused")
    await lab.reconcile()
    for _ in range(5):
        await lab.reconcile(after=60)
    assert (lines(caplog), lab.events) == (of_device("IdentityCreated", "DeviceUnreachable"), ["IdentityCreated"])
    for _ in range(10):
        await lab.reconcile(after=60)
    assert (lines(caplog), lab.events[1:]) == (of_device("WARNING DeviceUnreachable"), ["DeviceUnreachable"])


async def test_a_start_of_a_failed_daemon_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its own Event says more than that the device is not Ready for it."""
    lab = Lab()
    await lab.until_ready()
    caplog.clear()
    lab.memory.state = "failed/failed"
    await lab.until_ready()
    assert lines(caplog) == of_device("WARNING DaemonRestarted", "Ready")


async def test_a_suspension_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """And its end."""
    lab = Lab()
    await lab.until_ready()
    caplog.clear()
    lab.edit(suspend=True)
    await lab.reconcile(after=1)
    await lab.reconcile(after=1)
    lab.edit(suspend=False)
    await lab.reconcile(after=1)
    assert lines(caplog) == of_device("Suspended", "Resumed")


async def test_events_of_a_pass_keep_their_order() -> None:
    """A host key of first use is remembered after the identity was created, and before the file is written."""
    ssh = {"host": "h", "user": "u", "hostKeyPolicy": "TrustOnFirstUse", "credentialsSecretRef": {"name": "ssh"}}
    lab = Lab(fresh(), ssh=ssh)
    lab.network.keys["h"] = "ssh-ed25519 AAAA"
    await lab.until_ready()
    assert lab.events == ["IdentityCreated", "HostKeyRemembered", "ConfigApplied", "Ready"]


async def test_a_refused_event_is_in_the_log_with_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """A namespace that is being deleted takes none, and that is when it matters."""
    lab = Lab()
    await lab.until_ready()
    lab.cluster.terminating.add("plant-a")
    lab.delete()
    caplog.clear()
    await lab.reconcile(after=1)
    why = "403: unable to create new content in namespace plant-a because it is being terminated"
    words = f"The identity '{ID}' was deleted from the hub."
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        words,
        f"the API server refuses the Event ({why}): {words}",
        "The finalizer was removed: nothing holds the object.",
    ]
    assert lines(caplog) == of_device("IdentityReleased", "WARNING IdentityReleased", "Deleted")


async def test_what_was_heard_is_counted_too() -> None:
    """Also where the API server takes no Event."""
    heard: list[tuple[Key, str]] = []
    lab = Lab()
    lab.dependencies = dataclasses.replace(lab.dependencies, heard=lambda key, reason: heard.append((key, reason)))
    lab.reconciler = type(lab.reconciler)(lab.dependencies)

    async def refusing(*_: Any, **__: Any) -> None:
        raise ApiError(0, "The API server did not answer: TimeoutError")

    lab.cluster.event = refusing  # type: ignore[method-assign]
    await lab.until_ready()
    key = Key("EdgeDevice", "plant-a", ID)
    assert heard == [(key, reason) for reason in ("IdentityCreated", "ConfigApplied", "DaemonRestarted", "Ready")]


async def test_a_hub_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Its Events are as those of a device; a hint is told once."""
    cluster = MemoryCluster()
    policy = f"HostName={HOST};SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"
    cluster.put_secret(NAMESPACE, "hub", {"connectionString": policy.encode()})
    cluster.put_hub(connection(deviceIdPattern="{namespace}-*"))
    hubs = HubClients(cluster, namespace=NAMESPACE, factory=lambda _, __: MemoryHubClient())
    reconciler = HubConnectionReconciler(cluster=cluster, hubs=hubs, clock=Time().clock)

    async def passes() -> list[str]:
        for _ in range(3):
            await reconciler.reconcile(Key("HubConnection", "", "contoso"))
        return lines(caplog)

    assert await passes() == [
        "INFO HubConnection//contoso Ready",
        "WARNING HubConnection//contoso SeparatorInNamespaceNames",
    ]
    cluster.delete_secret(NAMESPACE, "hub")
    assert await passes() == ["WARNING HubConnection//contoso HubSecretNotFound"]
    told = [(event.hub, event.device, event.warning, event.reason) for event in cluster.events]
    assert told == [
        ("contoso", "", False, "Ready"),
        ("contoso", "", True, "SeparatorInNamespaceNames"),
        ("contoso", "", True, "HubSecretNotFound"),
    ]
