"""The operator's hub adapter on the wire: how often it asks, what it echoes, what it keeps to itself."""

import asyncio
import base64
import dataclasses
import logging
import traceback
from typing import Any

import pytest
from hub_lab import KEYS, OTHER_KEYS, Lab, counting_relay

from edgeherd.hub.azure import AzureHub
from edgeherd.hub.port import HubError, Identity
from edgeherd.model import Keys

LONG = Keys(primary=base64.b64encode(b"p" * 64).decode(), secondary=base64.b64encode(b"s" * 64).decode())
SHORT = Keys(primary=base64.b64encode(b"p" * 16).decode(), secondary=base64.b64encode(b"s" * 16).decode())
PARENT = "ms-azure-iot-edge://line-1-638000000000000001"


async def test_one_request_each(lab: Lab, adapter: AzureHub) -> None:
    """Every call is exactly one request, and each says who asks by the policy's name."""
    created = await adapter.create("press-01", KEYS, enabled=True)
    updated = await adapter.update(created, enabled=False, credentials=KEYS)
    assert await adapter.get("press-01") == updated
    await adapter.delete(updated)
    await adapter.probe()
    path = "/devices/press-01"
    assert lab.asked == [
        ("PUT", path, 200),
        ("PUT", path, 200),
        ("GET", path, 200),
        ("DELETE", path, 204),
        ("GET", "/devices", 200),
    ]
    assert {entry.caller for entry in lab.hub.requests} == {"registryReadWrite"}
    assert [entry.query for entry in lab.hub.requests][-1] == "top=1&api-version=2021-04-12"


async def test_one_connection(lab: Lab) -> None:
    """Calls one after another share one connection, refusals included."""
    async with counting_relay(lab.hub.port) as (port, connections):
        adapter = lab.open(port=port)
        await adapter.create("press-01", KEYS, enabled=True)
        for _ in range(5):
            await adapter.get("press-01")
            await adapter.get("absent")
        assert len(connections) == 1
    assert len(lab.asked) == 11


def edge(**other: Any) -> dict[str, Any]:
    """An edge device's body."""
    return {"capabilities": {"iotEdge": True}, **other}


def with_keys(keys: Keys) -> dict[str, Any]:
    """The authentication that a body asks for."""
    return {"type": "sas", "symmetricKey": {"primaryKey": keys.primary, "secondaryKey": keys.secondary}}


@pytest.mark.parametrize(
    ("body", "enabled", "keys"),
    [
        pytest.param(edge(), False, None, id="an enabled device is disabled"),
        pytest.param(edge(status="disabled"), True, None, id="a disabled device is enabled"),
        pytest.param(edge(status="disabled", statusReason="in repair"), True, None, id="a status reason stays"),
        pytest.param(edge(statusReason="Größe: 5 µm, 済"), False, None, id="a status reason beyond ASCII stays"),
        pytest.param(edge(parentScopes=[PARENT]), False, None, id="a parent stays"),
        pytest.param(
            edge(parentScopes=[PARENT], statusReason="in repair", status="disabled", authentication=with_keys(LONG)),
            True,
            None,
            id="everything at once stays",
        ),
        pytest.param(edge(authentication=with_keys(SHORT)), True, None, id="keys of 16 bytes stay"),
        pytest.param(edge(authentication=with_keys(LONG)), True, None, id="keys of 64 bytes stay"),
        pytest.param(edge(parentScopes=[PARENT]), True, OTHER_KEYS, id="only the keys are changed"),
    ],
)
async def test_update_echoes_everything(
    lab: Lab, adapter: AzureHub, body: dict[str, Any], enabled: bool, keys: Keys | None
) -> None:
    """After an update the hub differs in what was asked for, and in the etag."""
    stored = lab.hub.store.put_device("press-01", body, None)
    before = await adapter.get("press-01")
    assert before is not None
    assert before.keys is not None
    after = await adapter.update(before, enabled=enabled, credentials=keys or before.keys)
    now = lab.hub.store.device("press-01")
    assert after == dataclasses.replace(before, etag=now.etag, enabled=enabled, credentials=keys or before.keys)
    assert now == dataclasses.replace(
        stored,
        revision=now.revision,
        status="enabled" if enabled else "disabled",
        status_updated=now.status_updated,
        authentication=dataclasses.replace(
            stored.authentication, primary_key=after.keys.primary, secondary_key=after.keys.secondary
        )
        if after.keys
        else stored.authentication,
    )
    assert now.revision > stored.revision


async def test_a_leaf_without_parent_becomes_an_edge_device(lab: Lab, adapter: AzureHub) -> None:
    """Drift in the edge flag is put right without touching the keys."""
    lab.hub.store.put_device("press-01", {"authentication": with_keys(KEYS)}, None)
    before = await adapter.get("press-01")
    assert before is not None
    after = await adapter.update(before, enabled=True, credentials=KEYS)
    assert after == dataclasses.replace(
        before, etag=after.etag, iot_edge=True, device_scope="ms-azure-iot-edge://press-01-"
    )


@pytest.mark.parametrize(
    "device_id",
    [
        *(pytest.param(f"a{character}b", id=f"'{character}' in an id") for character in "-:.+%_#*?!(),=@;$'"),
        pytest.param("-:.+%_#*?!(),=@;$'", id="nothing but special characters"),
        pytest.param("%41%2F%", id="what looks like percent-encoding is none"),
        pytest.param("Press-01", id="capitals are kept"),
        pytest.param("a" * 128, id="128 characters"),
    ],
)
async def test_ids_make_the_round_trip(lab: Lab, adapter: AzureHub, device_id: str) -> None:
    """Every legal id names the same device in all calls."""
    created = await adapter.create(device_id, KEYS, enabled=True)
    assert list(lab.hub.store.identities) == [(device_id, ""), (device_id, "$edgeAgent"), (device_id, "$edgeHub")]
    assert await adapter.get(device_id) == created
    await adapter.delete(await adapter.update(created, enabled=False, credentials=KEYS))
    assert lab.hub.store.identities == {}


async def test_the_budget(lab: Lab) -> None:
    """A minute's worth of calls may come at once; the next one waits, and does not reach the hub meanwhile."""
    adapter = lab.open(operations_per_minute=2)
    await adapter.get("press-01")
    await adapter.get("press-01")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(adapter.get("press-01"), 0.1)
    assert len(lab.asked) == 2


async def test_each_hub_has_its_own_budget(lab: Lab) -> None:
    """What one adapter has used up does not hold up another."""
    first, second = lab.open(operations_per_minute=1), lab.open(operations_per_minute=1)
    await first.get("press-01")
    await second.get("press-01")
    assert len(lab.asked) == 2


async def ended(adapter: AzureHub, identity: Identity) -> list[str]:
    """All that the errors of the calls could tell a log."""
    calls = (
        lambda: adapter.get("press-01"),
        lambda: adapter.create("press-01", KEYS, enabled=True),
        lambda: adapter.update(identity, enabled=True, credentials=OTHER_KEYS),
        lambda: adapter.delete(identity),
        adapter.probe,
    )
    told = []
    for call in calls:
        try:
            await call()
        except HubError as error:
            logging.getLogger("test").debug("it failed", exc_info=error)
            told += [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return told


async def test_secrets_stay_inside(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """No text of an error, no repr and no log record at DEBUG holds a key, a signature or a tracking id."""
    caplog.set_level(logging.DEBUG)
    adapter = lab.open()
    stored = await adapter.create("press-01", KEYS, enabled=True)
    told = [repr(adapter), repr(stored), repr(KEYS), repr(lab.hub)]
    for fault in (
        {"kind": "error", "code": "ArgumentInvalid"},
        {"kind": "error", "code": "IotHubUnauthorizedAccess"},
        {"kind": "error", "code": "DeviceAlreadyExists"},
        {"kind": "error", "code": "ServerError"},
        {"kind": "throttle"},
        {"kind": "drop"},
    ):
        lab.hub.faults.add(**fault)
        told += await ended(adapter, stored)
        lab.hub.faults.clear()
    told += await ended(lab.open(key=OTHER_KEYS.primary), stored)
    told += await ended(lab.open(ca_file=__file__), stored)
    text = "\n".join((*told, caplog.text, *(repr(vars(record)) for record in caplog.records)))
    policy_keys = lab.hub.policies.values()
    secrets = {*policy_keys, KEYS.primary, KEYS.secondary, OTHER_KEYS.primary, OTHER_KEYS.secondary}
    assert [word for word in (*secrets, "sig=", "SharedAccessSignature", "Tracking", "-G:0") if word in text] == []
    assert len(told) > 100
    assert {record.name.partition(".")[0] for record in caplog.records} & {"msrest", "uamqp", "urllib3"} == set()


async def test_a_leaf_with_a_parent_becomes_an_edge_device(lab: Lab, adapter: AzureHub) -> None:
    """The parent stays when the edge flag is put right."""
    parent = "ms-azure-iot-edge://line-1-1"
    keys = {"symmetricKey": {"primaryKey": KEYS.primary, "secondaryKey": KEYS.secondary}}
    lab.hub.store.put_device("press-01", {"authentication": keys, "deviceScope": parent}, None)
    before = await adapter.get("press-01")
    assert before is not None
    after = await adapter.update(before, enabled=True, credentials=KEYS)
    assert after == dataclasses.replace(
        before, etag=after.etag, iot_edge=True, device_scope="ms-azure-iot-edge://press-01-", parent_scopes=(parent,)
    )
