"""The adapter in trouble: odd answers, refusals, throttling, a hub that is down."""

import asyncio
import json
import pathlib
import traceback

import pytest
from aiohttp import web
from hub_lab import KEYS, OTHER_KEYS, Lab, odd_server, outcome

from edgeherd import resource
from edgeherd.hub import azure, credential
from edgeherd.hub.azure import AzureHub
from edgeherd.hub.port import BusyError, RefusedError, ThrottledError, UnavailableError
from edgeherd.model import Key
from edgeherd_sim.hub import tls


@pytest.mark.parametrize("text", ["<html>", "[]", "{", "{}", "null", "", '{"deviceId":"press-01","capabilities":[]}'])
async def test_an_answer_that_is_no_device(lab: Lab, tmp_path: pathlib.Path, text: str) -> None:
    """What cannot be read is an unknown outcome."""
    certificate = tls.prepare(tmp_path, ("localhost",))
    kind = "text/html" if text.startswith("<") else "application/json"
    async with odd_server(certificate.context, lambda: web.Response(text=text, content_type=kind)) as port:
        adapter = lab.open(port=port, ca_file=str(certificate.ca_file))
        found = [
            await outcome(adapter.get("press-01")),
            await outcome(adapter.create("press-01", KEYS, enabled=True)),
        ]
    assert {kind for kind, _ in found} == {UnavailableError}


async def test_an_odd_list_tells_no_keys(lab: Lab, tmp_path: pathlib.Path) -> None:
    """A list that cannot be read keeps its keys to itself."""
    keys = {"symmetricKey": {"primaryKey": KEYS.primary, "secondaryKey": KEYS.secondary}}
    text = json.dumps([{"deviceId": "p", "authentication": keys, "capabilities": []}])
    certificate = tls.prepare(tmp_path, ("localhost",))
    async with odd_server(
        certificate.context, lambda: web.Response(text=text, content_type="application/json")
    ) as port:
        adapter = lab.open(port=port, ca_file=str(certificate.ca_file))
        with pytest.raises(UnavailableError) as caught:
            await adapter.probe()
    assert KEYS.primary not in "".join(traceback.format_exception(caught.value))


async def test_redirects_are_not_followed(lab: Lab, tmp_path: pathlib.Path) -> None:
    """One call is one request, wherever it is told to go."""
    asked: list[int] = []

    def answer() -> web.Response:
        asked.append(1)
        return web.Response(status=302, headers={"Location": "/devices/other"})

    certificate = tls.prepare(tmp_path, ("localhost",))
    async with odd_server(certificate.context, answer) as port:
        adapter = lab.open(port=port, ca_file=str(certificate.ca_file))
        assert await outcome(adapter.get("press-01")) == (UnavailableError, "HTTP302")
    assert len(asked) == 1


async def test_a_hub_that_refuses_us_is_not_asked_by_every_device(lab: Lab) -> None:
    """One finds out, is told once, and the others fail at once until the hub's own probe succeeds."""
    adapter = lab.open(key=OTHER_KEYS.primary)
    refused = (RefusedError, "IotHubUnauthorizedAccess")
    assert [await outcome(adapter.get(f"press-{n}")) for n in range(10)] == [refused] * 10
    assert [path for _, path, _ in lab.asked] == ["/devices/press-0", "/devices"]


async def test_a_refusal_of_one_device_is_not_the_hub_s(lab: Lab, adapter: AzureHub) -> None:
    """The others go on."""
    lab.hub.faults.add("refuse-credential", path="press-0$")
    found = [await outcome(adapter.get(f"press-{n}")) for n in range(3)]
    assert found == [(RefusedError, "IotHubUnauthorizedAccess"), None, None]


async def test_a_hub_that_is_down_is_left_alone_after_three_tries(lab: Lab, adapter: AzureHub) -> None:
    """Until its own probe succeeds."""
    lab.hub.faults.add("error", code="ServiceUnavailable", count=3)
    down = (UnavailableError, "ServiceUnavailable")
    assert [await outcome(adapter.get("press-1")) for _ in range(5)] == [down] * 5
    assert len(lab.asked) == 3
    await adapter.probe()
    assert await adapter.get("press-1") is None


async def test_a_hub_that_stays_down_is_tried_by_one(
    lab: Lab, adapter: AzureHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is over, one device tries; the others wait for what comes of it."""
    lab.hub.faults.add("error", code="ServiceUnavailable")
    down = (UnavailableError, "ServiceUnavailable")
    monkeypatch.setattr(azure, "DOWN_SECONDS", 0.0)
    assert [await outcome(adapter.get("press-1")) for _ in range(3)] == [down] * 3
    monkeypatch.setattr(azure, "DOWN_SECONDS", 1000.0)
    assert [await outcome(adapter.get("press-1")) for _ in range(5)] == [down] * 5
    assert len(lab.asked) == 4


async def test_twins_in_trouble_are_left_alone(lab: Lab) -> None:
    """After three failures in a row; the registry is not concerned."""
    adapter = lab.open(policy="iothubowner")
    identity = await adapter.create("press-1", KEYS, enabled=True)
    for failures in (2, 3):
        lab.hub.faults.add("error", code="ServiceUnavailable", path="/twins/", count=failures)
        trouble = (UnavailableError, "ServiceUnavailable")
        assert [await outcome(adapter.twin("press-1")) for _ in range(failures)] == [trouble] * failures
        if failures == 2:
            found = await adapter.twin("press-1")
            assert found is not None
            assert found.device_etag == identity.etag
    lab.hub.requests.clear()
    assert await outcome(adapter.twin("press-1")) == (UnavailableError, "TwinsUnavailable")
    assert await adapter.get("press-1") == identity
    assert [path for _, path, _ in lab.asked] == ["/devices/press-1"]


@pytest.mark.usefixtures("stopped_clock")
async def test_after_a_429_nobody_asks_for_ten_seconds(lab: Lab, adapter: AzureHub) -> None:
    """And the error says for how long."""
    lab.hub.faults.add("throttle", count=1)
    with pytest.raises(ThrottledError):
        await adapter.get("press-1")
    with pytest.raises(ThrottledError) as caught:
        await adapter.get("press-2")
    assert caught.value.retry_after == 10
    assert len(lab.asked) == 1


async def test_a_client_is_what_its_hub_connection_says(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port, its budget (the ninth of a namespace that waits is told how long one a minute takes), and whose trouble it is."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", lab.hub.ca_file)
    spec = {
        "hostName": "localhost",
        "port": lab.hub.port,
        "auth": {},
        "allowedNamespaces": {"from": "All"},
        "budget": {"registryOperationsPerMinute": 1},
    }
    connection = resource.hub_connection(
        {"metadata": {"name": "contoso", "uid": "u", "generation": 1, "resourceVersion": "1"}, "spec": spec}
    )
    login = credential.parse(lab.hub.connection_string_of("registryReadWrite"))
    told: list[Key] = []
    client = azure.client_of(connection, login, on_trouble=told.append)
    hub = client.on_behalf_of("plant-a")
    lab.hub.faults.add("refuse-credential")
    assert await outcome(hub.get("press-01")) == (RefusedError, "IotHubUnauthorizedAccess")
    assert told == [Key("HubConnection", "", "contoso")]
    lab.hub.faults.clear()
    await hub.probe()
    asked = [asyncio.create_task(hub.get("press-01")) for _ in range(9)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(BusyError) as caught:
        asked[-1].result()
    assert caught.value.retry_after == 8 * 60
    for waiting in asked[:-1]:
        waiting.cancel()
    await asyncio.wait(asked)
    client.close()
