"""`POST /devices` of the emulated hub: many identities in one call."""

from typing import Any

import pytest
from hub_client import KEYS, PRIMARY, SECONDARY, UNAUTHORIZED, Client, owner

from edgeherd_sim.hub.server import Hub
from edgeherd_sim.hub.throttle import Operation

EDGE = {"iotEdge": True}
OTHER = {"type": "sas", "symmetricKey": {"primaryKey": SECONDARY, "secondaryKey": PRIMARY}}
FINE = (200, {"isSuccessful": True, "errors": [], "warnings": []})


def failed(code: str, status: str, device: str = "old", **rest: str) -> tuple[int, Any]:
    """The result of one entry that failed."""
    errors = [{"deviceId": device, "errorCode": code, "errorStatus": status, **rest}]
    return 400, {"isSuccessful": False, "errors": errors, "warnings": []}


def state(hub: Hub) -> dict[str, tuple[str, str | None, Any]]:
    """Status, primary key and tags of each device and module."""
    return {
        "/".join(filter(None, key)): (identity.status, identity.authentication.primary_key, hub.store.twins[key].tags)
        for key, identity in hub.store.identities.items()
    }


@pytest.fixture
async def stocked(client: Client) -> Client:
    """A hub with a device and a module."""
    await client.made({"authentication": KEYS}, device_id="old")
    await client.send("PUT", "/devices/old/modules/vision", {"authentication": KEYS})
    await client.send("PATCH", "/twins/old", {"tags": {"a": 1}})
    return client


def filled(value: Any, etags: dict[str, str]) -> Any:
    """Entries with the etags that their devices have."""
    return {name: item.format(**etags) if isinstance(item, str) else item for name, item in value.items()}


NEW, SAME = ("enabled", PRIMARY, {}), ("enabled", PRIMARY, {"a": 1})
MODULE = {"old/vision": NEW}
UNTOUCHED = {"old": SAME, **MODULE}
MISMATCH = "Precondition failed: ETag mismatch."
MODES: dict[str, tuple[dict[str, Any], tuple[int, Any], dict[str, Any]]] = {
    "create makes a device": (
        {"id": "new", "importMode": "create", "authentication": KEYS},
        FINE,
        {**UNTOUCHED, "new": NEW},
    ),
    "create makes a device with its twin": (
        {
            "id": "new",
            "importMode": "create",
            "authentication": KEYS,
            "status": "disabled",
            "tags": {"b": 2},
            "properties": {"desired": {"c": 3}},
        },
        FINE,
        {**UNTOUCHED, "new": ("disabled", PRIMARY, {"b": 2})},
    ),
    "create of what is there": (
        {"id": "old", "importMode": "create"},
        failed("DeviceAlreadyExists", "A device with ID 'old' is already registered."),
        UNTOUCHED,
    ),
    "create with a bad twin makes the device only": (
        {"id": "new", "importMode": "create", "authentication": KEYS, "tags": {"b c": 2}},
        (
            200,
            {
                "isSuccessful": True,
                "errors": [],
                "warnings": [
                    {
                        "deviceId": "new",
                        "warningCode": "DeviceRegisteredWithoutTwin",
                        "warningStatus": "The tags have a key that is not allowed.",
                    }
                ],
            },
        ),
        {**UNTOUCHED, "new": NEW},
    ),
    "create with a bad id": (
        {"id": "a b", "importMode": "create"},
        failed("ArgumentInvalid", "The device identifier is invalid.", "a b"),
        UNTOUCHED,
    ),
    "create with one key": (
        {"id": "new", "importMode": "create", "authentication": {"symmetricKey": {"primaryKey": PRIMARY}}},
        failed("ArgumentInvalid", "Either no keys or both keys can be set.", "new"),
        UNTOUCHED,
    ),
    "no mode makes a device": ({"id": "new", "authentication": KEYS}, FINE, {**UNTOUCHED, "new": NEW}),
    "no mode updates a device": (
        {"id": "old", "authentication": OTHER},
        FINE,
        {**MODULE, "old": ("enabled", SECONDARY, {"a": 1})},
    ),
    "update replaces the identity": (
        {"id": "old", "importMode": "update", "authentication": OTHER, "status": "disabled"},
        FINE,
        {**MODULE, "old": ("disabled", SECONDARY, {"a": 1})},
    ),
    "update with tags": (
        {"id": "old", "importMode": "update", "authentication": KEYS, "tags": {"b": 2}},
        FINE,
        {**MODULE, "old": ("enabled", PRIMARY, {"a": 1, "b": 2})},
    ),
    "update of what is not there": (
        {"id": "new", "importMode": "update"},
        failed("DeviceNotFound", "new", "new"),
        UNTOUCHED,
    ),
    "updateIfMatchETag that fits": (
        {"id": "old", "importMode": "updateIfMatchETag", "eTag": "{device}", "authentication": OTHER},
        FINE,
        {**MODULE, "old": ("enabled", SECONDARY, {"a": 1})},
    ),
    "updateIfMatchETag that does not fit": (
        {"id": "old", "importMode": "updateIfMatchETag", "eTag": "MA==", "authentication": OTHER},
        failed("PreconditionFailed", MISMATCH),
        UNTOUCHED,
    ),
    "updateIfMatchETag without etag": (
        {"id": "old", "importMode": "updateIfMatchETag", "authentication": OTHER},
        failed("PreconditionFailed", "Precondition failed: eTag missing."),
        UNTOUCHED,
    ),
    "delete takes the modules along": ({"id": "old", "importMode": "delete"}, FINE, {}),
    "delete does not look at the etag": ({"id": "old", "importMode": "delete", "eTag": "MA=="}, FINE, {}),
    "delete of what is not there": (
        {"id": "new", "importMode": "delete"},
        failed("DeviceNotFound", "new", "new"),
        UNTOUCHED,
    ),
    "deleteIfMatchETag that fits": ({"id": "old", "importMode": "deleteIfMatchETag", "eTag": "{device}"}, FINE, {}),
    "deleteIfMatchETag that does not fit": (
        {"id": "old", "importMode": "deleteIfMatchETag", "eTag": "MA=="},
        failed("PreconditionFailed", MISMATCH),
        UNTOUCHED,
    ),
    "updateTwin merges and leaves the identity": (
        {"id": "old", "importMode": "updateTwin", "tags": {"a": None, "b": 2}, "status": "disabled"},
        FINE,
        {**MODULE, "old": ("enabled", PRIMARY, {"b": 2})},
    ),
    "updateTwin of what is not there": (
        {"id": "new", "importMode": "updateTwin", "tags": {}},
        failed("DeviceNotFound", "new", "new"),
        UNTOUCHED,
    ),
    "updateTwinIfMatchETag that fits": (
        {"id": "old", "importMode": "updateTwinIfMatchETag", "twinETag": "{twin}", "tags": {"b": 2}},
        FINE,
        {**MODULE, "old": ("enabled", PRIMARY, {"a": 1, "b": 2})},
    ),
    "updateTwinIfMatchETag compares with the twin's etag": (
        {"id": "old", "importMode": "updateTwinIfMatchETag", "twinETag": "{device}", "tags": {"b": 2}},
        failed("PreconditionFailed", MISMATCH),
        UNTOUCHED,
    ),
    "updateTwinIfMatchETag without etag": (
        {"id": "old", "importMode": "updateTwinIfMatchETag", "eTag": "{twin}", "tags": {"b": 2}},
        failed("PreconditionFailed", "Precondition failed: twinETag missing."),
        UNTOUCHED,
    ),
    "a mode in other letters": ({"id": "old", "importMode": "Delete"}, FINE, {}),
    "a mode that nobody knows": (
        {"id": "old", "importMode": "explode"},
        failed("ArgumentInvalid", "The import mode explode is unknown."),
        UNTOUCHED,
    ),
    "a mode that is a number": (
        {"id": "old", "importMode": 1},
        failed("DeserializationError", "importMode must be a string."),
        UNTOUCHED,
    ),
    "a module is made": (
        {"id": "old", "moduleId": "sound", "importMode": "create", "authentication": KEYS},
        FINE,
        {**UNTOUCHED, "old/sound": NEW},
    ),
    "a module that is there": (
        {"id": "old", "moduleId": "vision", "importMode": "create"},
        failed(
            "ModuleAlreadyExistsOnDevice",
            "A module with ID 'vision' is already registered on 'old'.",
            moduleId="vision",
        ),
        UNTOUCHED,
    ),
    "a module of a device that is not there": (
        {"id": "new", "moduleId": "vision", "importMode": "create"},
        failed("DeviceNotFound", "new", "new", moduleId="vision"),
        UNTOUCHED,
    ),
    "a module is updated": (
        {"id": "old", "moduleId": "vision", "importMode": "update", "authentication": OTHER},
        FINE,
        {"old": SAME, "old/vision": ("enabled", SECONDARY, {})},
    ),
    "a module is deleted": ({"id": "old", "moduleId": "vision", "importMode": "delete"}, FINE, {"old": SAME}),
}


@pytest.mark.parametrize("name", MODES)
async def test_modes(hub: Hub, stocked: Client, name: str) -> None:
    """What an entry does, what is said about it, and what then is there."""
    entry, expected, after = MODES[name]
    etags = {"device": hub.store.device("old").etag, "twin": hub.store.twins["old", ""].etag}
    answer = await stocked.send("POST", "/devices", [filled(entry, etags)])
    assert ((answer.status, answer.body), state(hub)) == (expected, after)
    assert "iothub-errorcode" not in answer.headers


async def test_the_sdk_s_example(hub: Hub, stocked: Client) -> None:
    """Entries are carried out in their sequence; an edge device gets its modules, and nobody's keys are shown."""
    body = [
        {"id": "b1", "importMode": "create", "status": "enabled", "capabilities": EDGE},
        {"id": "old", "importMode": "delete"},
    ]
    answer = await stocked.send("POST", "/devices", body)
    assert (answer.status, answer.body) == FINE
    assert sorted(state(hub)) == ["b1", "b1/$edgeAgent", "b1/$edgeHub"]
    assert len(hub.store.device("b1").authentication.keys) == 2


async def test_some_fail(hub: Hub, stocked: Client) -> None:
    """What fails does not keep the others from being done, and every failure is told."""
    body = [
        {"id": "n1", "importMode": "create"},
        {"id": "old", "importMode": "create"},
        {"id": "n2", "importMode": "update"},
        {"id": "n3", "importMode": "create"},
    ]
    answer = await stocked.send("POST", "/devices", body)
    assert (answer.status, answer.body) == (
        400,
        {
            "isSuccessful": False,
            "errors": [
                {
                    "deviceId": "old",
                    "errorCode": "DeviceAlreadyExists",
                    "errorStatus": "A device with ID 'old' is already registered.",
                },
                {"deviceId": "n2", "errorCode": "DeviceNotFound", "errorStatus": "n2"},
            ],
            "warnings": [],
        },
    )
    assert sorted(state(hub)) == ["n1", "n3", "old", "old/vision"]


async def test_an_edge_device_must_send_its_scope(hub: Hub, client: Client) -> None:
    """The rules of single calls hold for many as well."""
    scope = (await client.made({"capabilities": EDGE}))["deviceScope"]
    entry = {"id": "press-01", "importMode": "update", "capabilities": EDGE}
    answers = [await client.send("POST", "/devices", [each]) for each in (entry, {**entry, "deviceScope": scope})]
    assert [(answer.status, answer.body) for answer in answers] == [
        failed("InvalidDeviceScope", "Device scope is immutable.", "press-01"),
        FINE,
    ]
    assert hub.store.device("press-01").device_scope == scope


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"[", "IotHubFormatError", id="no JSON"),
        pytest.param({"id": "new"}, "DeserializationError", id="a single entry"),
        pytest.param(["new"], "DeserializationError", id="a list of names"),
        pytest.param([], "ArgumentInvalid", id="no entries"),
        pytest.param([{"id": f"d{each}"} for each in range(101)], "ArgumentInvalid", id="101 entries"),
        pytest.param([{"importMode": "create"}], "ArgumentNull", id="an entry without id"),
        pytest.param([{"id": ""}], "ArgumentNull", id="an entry with an empty id"),
        pytest.param([{"id": 1}], "DeserializationError", id="an entry whose id is a number"),
        pytest.param([{"id": "new"}, {"id": "new"}], "DeviceDefinedMultipleTimes", id="an id twice"),
        pytest.param(
            [{"id": "old", "moduleId": "m"}, {"id": "old", "moduleId": "m"}],
            "DeviceDefinedMultipleTimes",
            id="a module twice",
        ),
    ],
)
async def test_calls_that_are_refused(hub: Hub, stocked: Client, body: Any, expected: str) -> None:
    """A call that is wrong as a whole does nothing."""
    answer = await stocked.send("POST", "/devices", body)
    assert (answer.outcome, state(hub)) == ((400, expected), UNTOUCHED)


async def test_a_hundred(hub: Hub, client: Client) -> None:
    """A call takes a hundred entries."""
    answer = await client.send("POST", "/devices", [{"id": f"d{each}"} for each in range(100)])
    assert ((answer.status, answer.body), len(hub.store.devices())) == (FINE, 100)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("registryReadWrite", (200, ""), id="who may write the registry"),
        pytest.param("registryRead", UNAUTHORIZED, id="who may read the registry"),
        pytest.param("service", UNAUTHORIZED, id="a service"),
    ],
)
async def test_who_may(hub: Hub, client: Client, policy: str, expected: tuple[int, str]) -> None:
    """Bulks want the right to write the registry."""
    answer = await client.send("POST", "/devices", [{"id": "new"}], authorization=owner(hub, policy))
    assert answer.outcome == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param([{"id": f"d{each}"} for each in range(50)], [200, 200, 429], id="two bulks of fifty a minute"),
        pytest.param([{"id": f"d{each}"} for each in range(101)], [400, 400, 400], id="what is refused counts as one"),
        pytest.param(b"[", [400, 400, 400], id="what is no JSON counts as one"),
    ],
)
async def test_the_budget(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch, body: Any, expected: list[int]
) -> None:
    """Each device counts against the registry's budget."""
    monkeypatch.setattr(hub.throttle, "units", 1)
    monkeypatch.setattr(hub.throttle, "_clock", lambda: 1000.0)
    found = [(await client.send("POST", "/devices", body)).status for _ in range(3)]
    assert found == expected
    assert hub.throttle.admit(Operation.TWIN_READ) == 0
