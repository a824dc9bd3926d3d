"""Device identities on the wire: create, update, delete, etags, and what a body makes of a device."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from hub_client import KEYS, PRIMARY, SECONDARY, Answer, Client

from edgeherd_sim.hub.server import Hub

NEVER = "0001-01-01T00:00:00"
NO_PRINTS = {"primaryThumbprint": None, "secondaryThumbprint": None}
PRINT = "aB" * 20
EXISTS = (409, "DeviceAlreadyExists")
ABSENT = (404, "DeviceNotFound")
CHANGED = (412, "PreconditionFailed")


def shown(answer: Answer, **other: Any) -> dict[str, Any]:
    """A device as the hub shows it, with its own etag, generation and keys, but for what is other."""
    known = {name: answer.body[name] for name in ("etag", "generationId")}
    return {
        "deviceId": "press-01",
        **known,
        "connectionState": "Disconnected",
        "status": "enabled",
        "statusReason": None,
        "connectionStateUpdatedTime": NEVER,
        "statusUpdatedTime": NEVER,
        "lastActivityTime": NEVER,
        "cloudToDeviceMessageCount": 0,
        "authentication": {**KEYS, "x509Thumbprint": NO_PRINTS},
        "capabilities": {"iotEdge": False},
        **other,
    }


async def test_create_answers_with_the_whole_identity(client: Client) -> None:
    """Create is a 200 with the identity, its etag in the header too, and a get says the same."""
    created = await client.put({"deviceId": "press-01", "status": "enabled", "authentication": KEYS})
    assert created.status == 200
    assert created.body == shown(created)
    assert created.headers["ETag"].strip('"') == created.body["etag"]
    assert base64.b64decode(created.body["etag"]).isdigit()
    assert created.body["generationId"].isdigit()
    read = await client.send("GET", "/devices/press-01")
    assert (read.body, read.headers["ETag"]) == (created.body, created.headers["ETag"])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(
            {"authentication": KEYS, "status": "disabled", "statusReason": "stolen"},
            {"status": "disabled", "statusReason": "stolen"},
            id="a disabled device with a reason",
        ),
        pytest.param({"authentication": KEYS, "statusReason": ""}, {}, id="an empty reason is none"),
        pytest.param(
            {
                "authentication": {
                    "type": "selfSigned",
                    "x509Thumbprint": {"primaryThumbprint": PRINT, "secondaryThumbprint": PRINT + "0" * 24},
                }
            },
            {
                "authentication": {
                    "type": "selfSigned",
                    "symmetricKey": {"primaryKey": None, "secondaryKey": None},
                    "x509Thumbprint": {"primaryThumbprint": PRINT, "secondaryThumbprint": PRINT + "0" * 24},
                }
            },
            id="thumbprints of both lengths keep their letters as they are",
        ),
        pytest.param(
            {"authentication": {"type": "selfSigned"}},
            {
                "authentication": {
                    "type": "selfSigned",
                    "symmetricKey": {"primaryKey": None, "secondaryKey": None},
                    "x509Thumbprint": NO_PRINTS,
                }
            },
            id="a certificate of its own without any thumbprint",
        ),
        pytest.param(
            {"authentication": {"type": "certificateAuthority"}},
            {
                "authentication": {
                    "type": "certificateAuthority",
                    "symmetricKey": {"primaryKey": None, "secondaryKey": None},
                    "x509Thumbprint": NO_PRINTS,
                }
            },
            id="a certificate of an authority",
        ),
        pytest.param(
            {"authentication": KEYS, "etag": "*", "generationId": "7", "connectionState": "Connected", "surprise": 1},
            {},
            id="what belongs to the hub is ignored",
        ),
    ],
)
async def test_what_a_body_makes_of_a_device(client: Client, body: dict[str, Any], fields: dict[str, Any]) -> None:
    """The answer shows what was asked for and what belongs to the hub."""
    created = await client.put(body)
    assert created.body == shown(created, **fields)


@pytest.mark.parametrize(
    "authentication",
    [
        pytest.param(None, id="no authentication"),
        pytest.param({"type": "sas"}, id="the type alone"),
        pytest.param({"type": "sas", "symmetricKey": {}}, id="no keys, as this SDK sends them"),
        pytest.param({"symmetricKey": {"primaryKey": "", "secondaryKey": ""}}, id="empty keys"),
        pytest.param({"type": "sas", "symmetricKey": {"primaryKey": None, "secondaryKey": None}}, id="keys of null"),
    ],
)
async def test_keys_that_are_left_out_are_minted(client: Client, authentication: Any) -> None:
    """Without keys the hub makes two, on an update as well: that is a rotation."""
    found = []
    for if_match in (None, "*", "*"):
        body = await client.made({"authentication": authentication}, if_match=if_match)
        assert body["authentication"]["type"] == "sas"
        found += body["authentication"]["symmetricKey"].values()
    assert len(set(found)) == 6
    assert {len(base64.b64decode(key)) for key in found} == {32}


SPELLINGS: dict[str, Callable[[str], str]] = {
    "a star": lambda _: "*",
    "a star in quotation marks": lambda _: '"*"',
    "the etag": lambda etag: etag,
    "the etag in quotation marks": lambda etag: f'"{etag}"',
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_if_match_that_fits(client: Client, spelling: str) -> None:
    """Update and delete take all four spellings; the etag moves with each write, whatever it says."""
    first = await client.made({"authentication": KEYS})
    second = await client.made({"authentication": KEYS}, if_match=SPELLINGS[spelling](first["etag"]))
    assert second == {**first, "etag": second["etag"]}
    assert first["etag"] != second["etag"]
    gone = await client.send("DELETE", "/devices/press-01", if_match=SPELLINGS[spelling](second["etag"]))
    assert (gone.status, gone.body) == (204, None)
    assert (await client.send("GET", "/devices/press-01")).outcome == ABSENT


@pytest.mark.parametrize("spelling", ["the etag", "the etag in quotation marks"])
async def test_if_match_that_is_stale(client: Client, spelling: str) -> None:
    """Update and delete of an old version are refused and change nothing."""
    first = await client.made({"authentication": KEYS})
    second = await client.made({"authentication": KEYS}, if_match="*")
    stale = SPELLINGS[spelling](first["etag"])
    assert (await client.put({"status": "disabled"}, if_match=stale)).outcome == CHANGED
    assert (await client.send("DELETE", "/devices/press-01", if_match=stale)).outcome == CHANGED
    assert await client.get() == second


@pytest.mark.parametrize(
    ("method", "if_match", "exists", "expected"),
    [
        pytest.param("PUT", None, True, EXISTS, id="put without If-Match creates only"),
        pytest.param("PUT", "*", False, ABSENT, id="put with If-Match updates only"),
        pytest.param("DELETE", None, True, CHANGED, id="delete wants an If-Match"),
        pytest.param("DELETE", "", True, CHANGED, id="delete wants an If-Match that says something"),
        pytest.param("DELETE", "*", False, ABSENT, id="delete of nothing"),
        pytest.param("GET", None, False, ABSENT, id="get of nothing"),
    ],
)
async def test_create_or_update(
    client: Client, method: str, if_match: str | None, exists: bool, expected: tuple[int, str]
) -> None:
    """Whether an If-Match is there decides what a request is for; a refusal changes nothing."""
    before = await client.made({"authentication": KEYS}) if exists else None
    body = {"etag": before["etag"] if before else "*"} if method == "PUT" else None
    assert (await client.send(method, "/devices/press-01", body, if_match=if_match)).outcome == expected
    assert (await client.send("GET", "/devices")).body == ([before] if before else [])


async def test_an_update_replaces_everything(client: Client) -> None:
    """What an update leaves out falls back: enabled, no reason, keys minted anew; the generation stays."""
    before = await client.made({"authentication": KEYS, "status": "disabled", "statusReason": "stolen"})
    answer = await client.put({}, if_match="*")
    keys = answer.body["authentication"]["symmetricKey"]
    assert answer.body == shown(
        answer,
        statusUpdatedTime=answer.body["statusUpdatedTime"],
        authentication={"type": "sas", "symmetricKey": keys, "x509Thumbprint": NO_PRINTS},
    )
    assert answer.body["generationId"] == before["generationId"]
    assert not {PRIMARY, SECONDARY} & set(keys.values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z?", answer.body["statusUpdatedTime"])


async def test_what_was_read_can_be_written_back(client: Client) -> None:
    """The whole identity as a body changes nothing but the etag."""
    before = await client.made({"capabilities": {"iotEdge": True}, "status": "disabled", "statusReason": "stolen"})
    after = await client.made(before, if_match=before["etag"])
    assert after == {**before, "etag": after["etag"]}


async def test_a_namesake_is_another_device(client: Client) -> None:
    """After delete and create the generation is a new one, and the old etag fits no more."""
    first = await client.made()
    await client.send("DELETE", "/devices/press-01", if_match="*")
    second = await client.made()
    assert int(second["generationId"]) > int(first["generationId"])
    assert (await client.put({}, if_match=first["etag"])).outcome == CHANGED


async def test_coming_and_going_does_not_move_the_etag(hub: Hub, client: Client) -> None:
    """A device that connects and disconnects changes its state only."""
    before = await client.made()
    hub.store.touch(("press-01", ""))
    there = await client.get()
    hub.store.touch(("press-01", ""), connected=False)
    gone = await client.get()
    moving = ("connectionState", "connectionStateUpdatedTime", "lastActivityTime")
    assert [body["connectionState"] for body in (before, there, gone)] == ["Disconnected", "Connected", "Disconnected"]
    assert there == {**before, **{name: there[name] for name in moving}}
    assert gone == {**before, **{name: gone[name] for name in moving}}


async def test_clients_of_the_newer_version(client: Client) -> None:
    """The bodies and the api-version of Microsoft's other clients do the same."""
    create = {
        "deviceId": "press-01",
        "status": "enabled",
        "authentication": {"symmetricKey": {}, "type": "sas"},
        "capabilities": {"iotEdge": True},
        "parentScopes": [],
    }
    created = await client.send("PUT", "/devices/press-01", create, version="2024-03-31")
    update = {
        "deviceId": "press-01",
        "etag": "*",
        "status": "disabled",
        "authentication": created.body["authentication"],
        "capabilities": {"iotEdge": True},
        "deviceScope": created.body["deviceScope"],
    }
    updated = await client.send("PUT", "/devices/press-01", update, version="2024-03-31", if_match='"*"')
    own = {name: updated.body[name] for name in ("etag", "statusUpdatedTime")}
    assert updated.body == {**created.body, **own, "status": "disabled"}
