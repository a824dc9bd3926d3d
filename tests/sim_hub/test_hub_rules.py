"""What the emulated registry accepts in ids, keys, thumbprints and states."""

import base64
from typing import Any

import pytest
from hub_client import KEYS, PRIMARY, SECONDARY, Client

GOOD = (200, "")
INVALID = (400, "ArgumentInvalid")
PRINT = "AB" * 20


def of_bytes(primary: int, secondary: int = 32) -> dict[str, Any]:
    """Keys of so many bytes."""
    first, second = (base64.b64encode(b"k" * length).decode() for length in (primary, secondary))
    return {"symmetricKey": {"primaryKey": first, "secondaryKey": second}}


def with_keys(**keys: Any) -> dict[str, Any]:
    """Keys as they are."""
    return {"type": "sas", "symmetricKey": keys}


def with_print(text: Any, type_: str = "selfSigned") -> dict[str, Any]:
    """A certificate of its own."""
    return {"type": type_, "x509Thumbprint": {"primaryThumbprint": text}}


@pytest.mark.parametrize(
    ("authentication", "expected"),
    [
        pytest.param(of_bytes(15), INVALID, id="a key of 15 bytes is too short"),
        pytest.param(of_bytes(16), GOOD, id="a key of 16 bytes"),
        pytest.param(of_bytes(64), GOOD, id="a key of 64 bytes"),
        pytest.param(of_bytes(65), INVALID, id="a key of 65 bytes is too long"),
        pytest.param(of_bytes(32, 15), INVALID, id="the secondary key counts too"),
        pytest.param(with_keys(primaryKey=PRIMARY), INVALID, id="a primary key alone"),
        pytest.param(with_keys(secondaryKey=SECONDARY), INVALID, id="a secondary key alone"),
        pytest.param(with_keys(primaryKey=PRIMARY, secondaryKey=""), INVALID, id="an empty secondary key"),
        pytest.param(with_keys(primaryKey=PRIMARY, secondaryKey=PRIMARY), GOOD, id="two keys that are the same"),
        pytest.param(with_keys(primaryKey="~" * 40, secondaryKey=SECONDARY), INVALID, id="a key that is not base64"),
        pytest.param(with_keys(primaryKey="é" * 40, secondaryKey=SECONDARY), INVALID, id="a key beyond ASCII"),
        pytest.param(with_print(PRINT), GOOD, id="a thumbprint of 40 digits"),
        pytest.param(with_print(PRINT.lower()), GOOD, id="a thumbprint in small letters"),
        pytest.param(with_print(PRINT + "AB" * 12), GOOD, id="a thumbprint of 64 digits"),
        pytest.param(with_print(":".join(["AB"] * 20)), INVALID, id="a thumbprint with separators"),
        pytest.param(with_print("XY" * 20), INVALID, id="a thumbprint that is not hexadecimal"),
        pytest.param({"type": "none"}, (400, "DeviceAuthenticationTypeIsMissing"), id="no authentication at all"),
        pytest.param({"type": "password"}, INVALID, id="a type that nobody knows"),
    ],
)
async def test_authentication(client: Client, authentication: dict[str, Any], expected: tuple[int, str]) -> None:
    """Create and update judge keys and thumbprints alike; a refused update changes nothing."""
    assert (await client.put({"authentication": authentication})).outcome == expected
    before = await client.made({"authentication": KEYS}, device_id="press-02")
    update = await client.put({"authentication": authentication}, device_id="press-02", if_match="*")
    assert update.outcome == expected
    assert await client.get("press-02") == (update.body if expected == GOOD else before)


async def test_keys_are_kept_to_the_letter(client: Client) -> None:
    """Keys of any legal length come back as they were given."""
    for number, length in enumerate((16, 17, 18, 33, 64)):
        wanted = of_bytes(length, length + 1 if length < 64 else 16)
        body = await client.made({"authentication": wanted}, device_id=f"press-{number}")
        assert body["authentication"]["symmetricKey"] == wanted["symmetricKey"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"status": "disabled"}, GOOD, id="a status that is known"),
        pytest.param({"status": None}, GOOD, id="a status of null counts as enabled"),
        pytest.param({"status": "asleep"}, INVALID, id="a status that nobody knows"),
        pytest.param({"statusReason": "x" * 128}, GOOD, id="a reason of 128 characters"),
        pytest.param({"statusReason": "ß" * 128}, GOOD, id="a reason of 128 characters beyond ASCII"),
        pytest.param({"statusReason": "x" * 129}, INVALID, id="a reason of 129 characters"),
        pytest.param({"deviceId": "press-01"}, GOOD, id="the id of the address"),
        pytest.param({"deviceId": "press-02"}, INVALID, id="another id than that of the address"),
        pytest.param({"deviceId": 1}, (400, "DeserializationError"), id="an id that is a number"),
        pytest.param({"status": True}, (400, "DeserializationError"), id="a status that is a boolean"),
        pytest.param({"capabilities": []}, (400, "DeserializationError"), id="capabilities that are a list"),
        pytest.param({"capabilities": {"iotEdge": 1}}, (400, "DeserializationError"), id="a flag that is a number"),
        pytest.param(
            {"parentScopes": "x", "capabilities": {"iotEdge": True}},
            (400, "DeserializationError"),
            id="parents that are text",
        ),
        pytest.param([], (400, "IotHubFormatError"), id="a body that is a list"),
        pytest.param(b"{", (400, "IotHubFormatError"), id="a body that ends too early"),
        pytest.param(b"", (400, "IotHubFormatError"), id="an empty body"),
        pytest.param(b"\xff", (400, "IotHubFormatError"), id="a body that is no text"),
    ],
)
async def test_bodies(client: Client, body: Any, expected: tuple[int, str]) -> None:
    """A body that breaks a rule is a 400 and makes no device."""
    assert (await client.send("PUT", "/devices/press-01", body)).outcome == expected
    assert len((await client.send("GET", "/devices")).body) == (1 if expected == GOOD else 0)


@pytest.mark.parametrize(
    ("segment", "device_id"),
    [
        pytest.param(
            "a-%3A.%2B%25_%23%2A%3F%21%28%29%2C%3D%40%24%27b", "a-:.+%_#*?!(),=@$'b", id="as this SDK encodes"
        ),
        pytest.param("a-:.+%25_%23*%3F!(),=@;$'b", "a-:.+%_#*?!(),=@;$'b", id="only what must be encoded"),
        pytest.param("%41%42", "AB", id="encoded without need"),
        pytest.param("%2541", "%41", id="decoded once only"),
        pytest.param("a+b", "a+b", id="a plus is no space"),
        pytest.param("a" * 128, "a" * 128, id="128 characters"),
        pytest.param("a" * 129, None, id="129 characters are too many"),
        pytest.param("a%2Fb", None, id="a slash inside is no part of an address, and not legal"),
        pytest.param("a%20b", None, id="a space is not legal"),
        pytest.param("%C3%A4", None, id="letters beyond ASCII are not legal"),
        pytest.param("a%7Bb%7D", None, id="braces are not legal"),
    ],
)
async def test_ids(client: Client, segment: str, device_id: str | None) -> None:
    """The address is split before it is decoded, once; illegal ids are refused."""
    answer = await client.put({}, device_id=segment)
    if device_id is None:
        assert answer.outcome == INVALID
        assert (await client.send("GET", f"/devices/{segment}")).outcome == (404, "DeviceNotFound")
    else:
        assert answer.body["deviceId"] == device_id
        assert await client.get(segment) == answer.body


async def test_ids_are_case_sensitive(client: Client) -> None:
    """Two ids that differ in a capital are two devices."""
    ids = ["Press", "press"]
    for device_id in ids:
        await client.made(device_id=device_id)
    assert [body["deviceId"] for body in (await client.send("GET", "/devices")).body] == ids
