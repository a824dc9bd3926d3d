"""`POST /devices/keys/regenerate` of the emulated hub."""

from typing import Any

import pytest
from hub_client import KEYS, PRIMARY, SECONDARY, UNAUTHORIZED, Client, owner

from edgeherd_sim.hub.server import Hub

TARGET, VERSION = "/devices/keys/regenerate", "2024-03-31"
NAMES = ("primaryKey", "secondaryKey")


@pytest.fixture
async def stocked(client: Client) -> Client:
    """Two devices with keys, one with a certificate, and a module."""
    for name in ("a", "b"):
        await client.made({"authentication": KEYS}, device_id=name)
    await client.made({"authentication": {"type": "selfSigned"}}, device_id="cert")
    await client.send("PUT", "/devices/a/modules/vision", {"authentication": KEYS})
    return client


def keys(hub: Hub) -> dict[str, dict[str, str | None]]:
    """The keys of everything that has some."""
    return {
        "/".join(filter(None, key)): {"primaryKey": found.primary_key, "secondaryKey": found.secondary_key}
        for key, identity in hub.store.identities.items()
        if (found := identity.authentication).keys
    }


def asked(policy: Any, *ids: str) -> dict[str, Any]:
    """A body; modules are written with a stroke."""
    entries = ((name.partition("/")[0], name.partition("/")[2]) for name in ids)
    return {
        "policyKey": policy,
        "devices": [{"id": device, **({"moduleId": module} if module else {})} for device, module in entries],
    }


@pytest.mark.parametrize(
    ("policy", "new"),
    [
        pytest.param("primaryKey", ["primaryKey"], id="the primary key"),
        pytest.param("secondaryKey", ["secondaryKey"], id="the secondary key"),
        pytest.param("both", ["primaryKey", "secondaryKey"], id="both keys"),
    ],
)
async def test_keys_are_rotated(hub: Hub, stocked: Client, policy: str, new: list[str]) -> None:
    """What was asked for is new and in the answer, what was not is neither; devices and modules alike."""
    before, etags = keys(hub), {key: each.etag for key, each in hub.store.identities.items()}
    answer = await stocked.send("POST", TARGET, asked(policy, "a", "a/vision"), version=VERSION)
    after = keys(hub)
    assert (answer.outcome, answer.body) == (
        (200, ""),
        {
            "policyKey": policy,
            "rotatedKeys": [
                {"id": "a", **{name: after["a"][name] for name in new}},
                {"id": "a", "moduleId": "vision", **{name: after["a/vision"][name] for name in new}},
            ],
            "errors": [],
        },
    )
    changed = {who: [name for name in NAMES if after[who][name] != before[who][name]] for who in after}
    assert changed == {"a": new, "b": [], "a/vision": new}
    moved = [key for key, each in hub.store.identities.items() if each.etag != etags[key]]
    assert moved == [("a", ""), ("a", "vision")]


ABSENT = {"id": "x", "errorCode": "DeviceNotFound", "errorStatus": "x"}
FAILURES: dict[str, tuple[dict[str, Any], int, list[str], list[dict[str, str]]]] = {
    "a device that is not there, beside one that is": (asked("both", "x", "a"), 207, ["a"], [ABSENT]),
    "nothing but a device that is not there": (asked("both", "x"), 400, [], [ABSENT]),
    "a module that is not there": (
        asked("both", "a/absent", "b"),
        207,
        ["b"],
        [
            {
                "id": "a",
                "moduleId": "absent",
                "errorCode": "ModuleNotFound",
                "errorStatus": "Module absent of device a is not registered.",
            }
        ],
    ),
    "a module of a device that is not there": (asked("both", "x/vision"), 400, [], [{**ABSENT, "moduleId": "vision"}]),
    "a device without keys": (
        asked("both", "cert", "a"),
        207,
        ["a"],
        [
            {
                "id": "cert",
                "errorCode": "BulkRegenerateDeviceKeyOperationFailure",
                "errorStatus": "The identity does not authenticate by symmetric keys.",
            }
        ],
    ),
    "a key that nobody knows": (
        asked("swap", "a", "b"),
        400,
        [],
        [
            {"id": name, "errorCode": "InvalidPolicyKey", "errorStatus": "The policy key is unknown."}
            for name in ("a", "b")
        ],
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failures(hub: Hub, stocked: Client, name: str) -> None:
    """What fails is named, the others are done."""
    body, status, done, errors = FAILURES[name]
    before = keys(hub)
    answer = await stocked.send("POST", TARGET, body, version=VERSION)
    after = keys(hub)
    rotated = [{"id": who, **after[who]} for who in done]
    assert (answer.status, answer.body) == (
        status,
        {"policyKey": body["policyKey"], "rotatedKeys": rotated, "errors": errors},
    )
    assert [who for who in after if after[who] != before[who]] == done


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({}, "DeserializationError", id="nothing"),
        pytest.param({"policyKey": "both", "devices": []}, "ArgumentInvalid", id="no devices"),
        pytest.param({"policyKey": "both", "devices": [{}]}, "ArgumentNull", id="a device without id"),
        pytest.param(
            {"policyKey": ["both"], "devices": [{"id": "a"}]}, "DeserializationError", id="a list for the key"
        ),
        pytest.param(asked("both", "a", "a"), "DeviceDefinedMultipleTimes", id="a device twice"),
        pytest.param(asked("both", *(f"d{each}" for each in range(101))), "ArgumentInvalid", id="101 devices"),
        pytest.param([{"id": "a"}], "IotHubFormatError", id="a bare list"),
    ],
)
async def test_calls_that_are_refused(hub: Hub, stocked: Client, body: Any, expected: str) -> None:
    """A call that is wrong as a whole does nothing."""
    before = keys(hub)
    answer = await stocked.send("POST", TARGET, body, version=VERSION)
    assert (answer.outcome, keys(hub)) == ((400, expected), before)


@pytest.mark.parametrize("version", ["2018-06-30", "2020-05-31-preview", "2020-09-30", "2021-04-12", None])
async def test_other_versions(hub: Hub, stocked: Client, version: str | None) -> None:
    """Only 2024-03-31 has this call."""
    before = keys(hub)
    answer = await stocked.send("POST", TARGET, asked("both", "a"), version=version)
    assert (answer.outcome, keys(hub)) == ((400, "InvalidProtocolVersion"), before)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("registryReadWrite", (200, ""), id="who may write the registry"),
        pytest.param("registryRead", UNAUTHORIZED, id="who may read the registry"),
        pytest.param("service", UNAUTHORIZED, id="a service"),
    ],
)
async def test_who_may(hub: Hub, stocked: Client, policy: str, expected: tuple[int, str]) -> None:
    """New keys want the right to write the registry."""
    body = asked("both", "a")
    answer = await stocked.send("POST", TARGET, body, version=VERSION, authorization=owner(hub, policy))
    assert answer.outcome == expected


async def test_old_keys_open_nothing_any_more(hub: Hub, stocked: Client) -> None:
    """A rotated key is of no use, the other one still is."""
    await stocked.send("POST", TARGET, asked("primaryKey", "a"), version=VERSION)
    assert {PRIMARY, SECONDARY} & set(keys(hub)["a"].values()) == {SECONDARY}


async def test_the_budget(hub: Hub, stocked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each device counts."""
    monkeypatch.setattr(hub.throttle, "units", 1)
    monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
    body = asked("both", *(f"d{each}" for each in range(100)))
    found = [(await stocked.send("POST", TARGET, body, version=VERSION)).status for _ in range(2)]
    assert found == [400, 429]


async def test_a_wrong_policy_key_behind_the_clients_backs(hub: Hub, stocked: Client) -> None:
    """The control API refuses a key that it does not know, instead of rotating none."""
    before = hub.store.device("a")
    answer = await stocked.control("POST", "/devices/a/rotate-keys", {"policyKey": "swap"})
    assert (answer.outcome, hub.store.device("a")) == ((400, "ArgumentInvalid"), before)
