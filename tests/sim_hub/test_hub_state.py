"""The state file of the emulated hub: what outlives a restart."""

import asyncio
import datetime as dt
import json
import pathlib
from typing import Any

import pytest
from hub_client import KEYS, Client, connected

from edgeherd_sim.hub.persist import StateError
from edgeherd_sim.hub.server import Hub, serve
from edgeherd_sim.hub.store import Store


def names_in(folder: pathlib.Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


async def furnished(hub: Hub, client: Client) -> None:
    """A bit of everything."""
    await client.made({"capabilities": {"iotEdge": True}, "statusReason": "µ"})
    scope = hub.store.device("press-01").device_scope
    await client.made({"authentication": KEYS, "deviceScope": scope, "status": "disabled"}, device_id="leaf")
    await client.made({"authentication": {"type": "selfSigned"}}, device_id="own")
    hub.store.put_module("leaf", "vision", {}, None)
    hub.store.patch_twin(("press-01", ""), {"tags": {"a": {}}, "properties": {"desired": {"b": [1, 1.0]}}}, None)
    await client.control("PATCH", "/devices/press-01/reported", {"c": {"d": "e"}})
    await client.control("POST", "/devices/press-01/connect")


def remembered(hub: Hub) -> dict[str, Any]:
    """All that a hub knows."""
    store = hub.store
    return {"identities": store.identities, "twins": store.twins, "policies": hub.policies}


async def test_everything_outlives_a_restart(tmp_path: pathlib.Path) -> None:
    """Identities, keys, twins and policies are the same after a restart."""
    state = tmp_path / "deep" / "state.json"
    async with serve(state=state) as hub, connected(hub) as client:
        await furnished(hub, client)
        before = remembered(hub)
        listed = (await client.send("GET", "/devices")).body
    async with serve(state=state) as hub, connected(hub) as client:
        assert remembered(hub) == before
        assert (await client.send("GET", "/devices")).body == listed


async def test_etags_and_generations_are_never_given_again(tmp_path: pathlib.Path) -> None:
    """What was read before a restart does not fit what was written after it."""
    seen = []
    for _ in range(3):
        async with serve(state=tmp_path / "state") as hub, connected(hub) as client:
            body = await client.made()
            seen.append((int(body["generationId"]), hub.store.device("press-01").revision))
            await client.send("DELETE", "/devices/press-01", if_match="*")
    assert seen == sorted(set(seen))


def test_generations_move_when_the_clock_does_not() -> None:
    """Two devices of one moment, or of a clock that went back, still are two generations."""
    now = [dt.datetime(2026, 11, 23, 3, tzinfo=dt.UTC)]
    store = Store(now=lambda: now[0])
    found = []
    for hour in (3, 3, 2, 2, 1):
        now[0] = now[0].replace(hour=hour)
        found.append(int(store.put_device(f"press-{len(found)}", {}, None).generation_id))
    assert found == sorted(set(found))


async def test_a_change_is_on_disk_before_it_is_acknowledged(tmp_path: pathlib.Path) -> None:
    """Whoever has an answer may pull the plug; a dropped answer is no reason to forget either."""
    state = tmp_path / "state"

    def on_disk() -> list[tuple[str, str]]:
        identities = json.loads(state.read_text())["identities"]
        return sorted((identity["device_id"], identity["status"]) for identity in identities)

    async with serve(state=state) as hub, connected(hub) as client:
        found = [on_disk()]
        await client.made(device_id="a")
        found.append(on_disk())
        await client.control("POST", "/devices/a/disable")
        found.append(on_disk())
        await client.send("DELETE", "/devices/a", if_match="*")
        found.append(on_disk())
    assert found == [[], [("a", "enabled")], [("a", "disabled")], []]


async def test_many_changes_at_once_are_all_on_disk(tmp_path: pathlib.Path) -> None:
    """Requests that share a write lose nothing."""
    state = tmp_path / "state"
    async with serve(state=state) as hub, connected(hub) as client:
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(client.made(device_id=f"press-{number:02}"))
        found = sorted(identity["device_id"] for identity in json.loads(state.read_text())["identities"])
    assert found == [f"press-{number:02}" for number in range(40)]


async def test_the_state_file_is_for_its_owner_only(tmp_path: pathlib.Path) -> None:
    """It holds keys, hence nobody else may read it, before and after a change; nothing else is left behind."""
    state = tmp_path / "state"
    modes = []
    async with serve(state=state) as hub, connected(hub) as client:
        modes.append(state.stat().st_mode & 0o777)
        await client.made()
        modes.append(state.stat().st_mode & 0o777)
    assert modes == [0o600, 0o600]
    assert names_in(tmp_path) == [state.name]


async def test_a_given_key_wins_over_the_remembered_one(tmp_path: pathlib.Path) -> None:
    """The key that is asked for is the one that holds, and is remembered."""
    state, key = tmp_path / "state", KEYS["symmetricKey"]["primaryKey"]
    found = []
    for wanted in (None, None, key, None):
        async with serve(state=state, policy_key=wanted) as hub:
            found.append(hub.policies["iothubowner"])
    assert found[0] == found[1] != key
    assert found[2:] == [key, key]


async def test_policies_have_keys_of_their_own() -> None:
    """No two policies and no two hubs share a key."""
    async with serve() as one, serve() as two:
        keys = [*one.policies.values(), *two.policies.values()]
    assert len(set(keys)) == len(keys) == 10


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="an empty file"),
        pytest.param("hello", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param("{}", id="an object without anything"),
        pytest.param('{"format": 2}', id="another format"),
        pytest.param('{"format": 1, "revision": 1, "generation": 1, "identities": [{}]}', id="a broken identity"),
        pytest.param('{"format": 1, "revision": 1, "generation": 1, "identities": 1}', id="identities that are none"),
    ],
)
async def test_files_that_are_no_state(tmp_path: pathlib.Path, content: str) -> None:
    """A file that cannot be read stops the start with a sentence that names it, and is left alone."""
    state = tmp_path / "state"
    state.write_text(content)
    with pytest.raises(StateError, match=r"delete it or use another file") as caught:
        async with serve(state=state):
            pass
    assert str(state) in str(caught.value)
    assert state.read_text() == content
