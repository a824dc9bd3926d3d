"""The operator's hub adapter, with the real SDK, over TLS, against the emulator: what each call ends with."""

import dataclasses
import pathlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web
from hub_lab import KEYS, OTHER_KEYS, Lab, odd_server, outcome

from edgeherd.hub.azure import AzureHub
from edgeherd.hub.port import (
    AlreadyExistsError,
    Identity,
    InvalidError,
    PreconditionFailedError,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from edgeherd.model import Thumbprints
from edgeherd_sim.hub import tls

GHOST = Identity(
    device_id="press-01",
    generation_id="1",
    etag="MQ==",
    enabled=True,
    iot_edge=True,
    authentication="sas",
    credentials=KEYS,
)

CALLS: Mapping[str, Callable[[AzureHub], Awaitable[object]]] = {
    "get": lambda adapter: adapter.get("press-01"),
    "create": lambda adapter: adapter.create("press-01", KEYS, enabled=True),
    "update": lambda adapter: adapter.update(GHOST, enabled=True, credentials=KEYS),
    "delete": lambda adapter: adapter.delete(GHOST),
    "probe": lambda adapter: adapter.probe(),
}


async def outcomes(opened: Callable[[], AzureHub]) -> dict[str, object]:
    """What each of the five calls ends with, each on an adapter of its own: one learns from a trouble."""
    return {name: await outcome(call(opened())) for name, call in CALLS.items()}


async def test_a_new_identity_is_what_was_asked_for(lab: Lab, adapter: AzureHub) -> None:
    """Create answers with the identity as it is stored: edge-enabled, with exactly the given keys."""
    created = await adapter.create("press-01", KEYS, enabled=False)
    stored = lab.hub.store.device("press-01")
    assert created == Identity(
        device_id="press-01",
        generation_id=stored.generation_id,
        etag=stored.etag,
        enabled=False,
        iot_edge=True,
        authentication="sas",
        credentials=KEYS,
        device_scope=f"ms-azure-iot-edge://press-01-{stored.generation_id}",
    )
    assert (stored.authentication.primary_key, stored.authentication.secondary_key) == (KEYS.primary, KEYS.secondary)
    assert await adapter.get("press-01") == created


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(
            {"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "AB" * 20}}},
            {"authentication": "selfSigned", "credentials": Thumbprints(primary="AB" * 20, secondary=None)},
            id="a device with a certificate of its own has thumbprints",
        ),
        pytest.param(
            {"authentication": {"type": "certificateAuthority"}},
            {"authentication": "certificateAuthority"},
            id="a device with a certificate of an authority has no keys",
        ),
        pytest.param(
            {
                "status": "disabled",
                "statusReason": "stolen",
                "deviceScope": "ms-azure-iot-edge://line-1",
                "authentication": {"symmetricKey": {"primaryKey": KEYS.primary, "secondaryKey": KEYS.secondary}},
            },
            {
                "enabled": False,
                "status_reason": "stolen",
                "device_scope": "ms-azure-iot-edge://line-1",
                "parent_scopes": ("ms-azure-iot-edge://line-1",),
                "authentication": "sas",
                "credentials": KEYS,
            },
            id="a disabled leaf with a reason and a parent",
        ),
    ],
)
async def test_identities_of_others_are_read(
    lab: Lab, adapter: AzureHub, body: dict[str, Any], fields: dict[str, Any]
) -> None:
    """What somebody else registered reads as it is."""
    stored = lab.hub.store.put_device("press-01", body, None)
    known = Identity(
        device_id="press-01",
        generation_id=stored.generation_id,
        etag=stored.etag,
        enabled=True,
        iot_edge=False,
        authentication="",
        credentials=None,
    )
    assert await adapter.get("press-01") == dataclasses.replace(known, **fields)


async def test_calls_about_a_device_that_is_not_there(lab: Lab, adapter: AzureHub) -> None:
    """Get says None, update says that the identity changed, delete has nothing to do."""
    del lab
    names = ("get", "update", "delete", "probe")
    assert {name: await outcome(CALLS[name](adapter)) for name in names} == {
        "get": None,
        "update": (PreconditionFailedError, "DeviceNotFound"),
        "delete": None,
        "probe": None,
    }


async def test_calls_about_an_identity_that_changed_meanwhile(lab: Lab, adapter: AzureHub) -> None:
    """Create does not overwrite; update and delete of an old version leave the new one alone."""
    old = await adapter.create("press-01", KEYS, enabled=True)
    lab.hub.store.set_status("press-01", "disabled", "stolen")
    new = lab.hub.store.device("press-01")
    assert [
        await outcome(adapter.create("press-01", OTHER_KEYS, enabled=True)),
        await outcome(adapter.update(old, enabled=True, credentials=OTHER_KEYS)),
        await outcome(adapter.delete(old)),
    ] == [
        (AlreadyExistsError, "DeviceAlreadyExists"),
        (PreconditionFailedError, "PreconditionFailed"),
        (PreconditionFailedError, "PreconditionFailed"),
    ]
    assert lab.hub.store.device("press-01") == new


async def test_delete_spares_a_namesake(lab: Lab, adapter: AzureHub) -> None:
    """A device that was deleted and made anew is not the one that was read."""
    old = await adapter.create("press-01", KEYS, enabled=True)
    namesake = lab.hub.store.recreate("press-01")
    assert await outcome(adapter.delete(old)) == (PreconditionFailedError, "PreconditionFailed")
    current = await adapter.get("press-01")
    assert current is not None
    assert (current.generation_id, current.etag) == (namesake.generation_id, namesake.etag)
    assert await outcome(adapter.delete(current)) is None
    assert await adapter.get("press-01") is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param("ArgumentInvalid", InvalidError, id="400 ArgumentInvalid is invalid"),
        pytest.param("InvalidDeviceScope", InvalidError, id="400 InvalidDeviceScope is invalid"),
        pytest.param("IotHubUnauthorizedAccess", RefusedError, id="401 IotHubUnauthorizedAccess is refused"),
        pytest.param("IotHubNotFound", RefusedError, id="401 IotHubNotFound is refused, not absent"),
        pytest.param("IotHubSuspended", RefusedError, id="403 IotHubSuspended is refused"),
        pytest.param("IotHubQuotaExceeded", QuotaExceededError, id="403 IotHubQuotaExceeded is a quota"),
        pytest.param("TooManyDevices", QuotaExceededError, id="413 TooManyDevices is a quota"),
        pytest.param("ResourceNotFound", UnavailableError, id="404 ResourceNotFound is no word about the device"),
        pytest.param("ModuleNotFound", UnavailableError, id="404 ModuleNotFound is no word about the device"),
        pytest.param("DeviceNotOnline", UnavailableError, id="404 DeviceNotOnline is no word about the device"),
        pytest.param("DeviceAlreadyExists", AlreadyExistsError, id="409 DeviceAlreadyExists means look again"),
        pytest.param("PreconditionFailed", PreconditionFailedError, id="412 PreconditionFailed means look again"),
        pytest.param("ThrottlingException", ThrottledError, id="429 ThrottlingException is throttled"),
        pytest.param("ThrottlingBacklogTimeout", ThrottledError, id="429 ThrottlingBacklogTimeout is throttled"),
        pytest.param("ServerError", UnavailableError, id="500 ServerError is unavailable"),
        pytest.param("BadGateway", UnavailableError, id="502 BadGateway is unavailable"),
        pytest.param("ServiceUnavailable", UnavailableError, id="503 ServiceUnavailable is unavailable"),
        pytest.param("GatewayTimeout", UnavailableError, id="504 GatewayTimeout is unavailable"),
    ],
)
async def test_refusals(lab: Lab, code: str, kind: type[Exception]) -> None:
    """Every call maps the hub's refusal alike, keeps the hub's word for it, and asks once.

    Only a refused credential leads to one more request, which tells a hub's trouble from a device's.
    """
    lab.hub.faults.add("error", code=code)
    assert await outcomes(lab.open) == dict.fromkeys(CALLS, (kind, code))
    probe = ["GET"] if kind is RefusedError else []
    assert [method for method, _, _ in lab.asked] == [
        *("GET", *probe),
        *("PUT", *probe),
        *("PUT", *probe),
        *("DELETE", *probe),
        "GET",
    ]


@pytest.mark.parametrize(
    ("policy", "key", "allowed"),
    [
        pytest.param("iothubowner", None, {"get", "create", "probe"}, id="the owner may do everything"),
        pytest.param(
            "registryReadWrite", None, {"get", "create", "probe"}, id="registryReadWrite is all that is needed"
        ),
        pytest.param("registryRead", None, {"get", "probe"}, id="registryRead may only look"),
        pytest.param("service", None, set(), id="service has nothing to do with the registry"),
        pytest.param("device", None, set(), id="device has nothing to do with the registry"),
        pytest.param("registryReadWrite", OTHER_KEYS.primary, set(), id="a wrong key opens nothing"),
    ],
)
async def test_credentials(lab: Lab, policy: str, key: str | None, allowed: set[str]) -> None:
    """Without the right, calls are refused; never does that read as an absent device."""
    adapter = lab.open(policy=policy, key=key)
    names = ("get", "create", "probe")
    refused = {name: await outcome(CALLS[name](adapter)) for name in names if name not in allowed}
    assert refused == dict.fromkeys(refused, (RefusedError, "IotHubUnauthorizedAccess"))
    assert not [name for name in allowed if isinstance(await outcome(CALLS[name](adapter)), tuple)]


@pytest.mark.parametrize(
    ("kind", "happened"),
    [
        pytest.param("drop", False, id="the connection is cut before anything is done"),
        pytest.param("drop-after-commit", True, id="the connection is cut after everything was done"),
    ],
)
async def test_cut_connections(lab: Lab, adapter: AzureHub, kind: str, *, happened: bool) -> None:
    """The outcome is unknown, nothing is sent twice, and the next get tells the truth."""
    hub = lab.hub

    async def cut(call: Awaitable[object]) -> Identity | None:
        hub.faults.add(kind, count=1)
        hub.requests.clear()
        with pytest.raises(UnavailableError, match="hub"):
            await call
        assert len(hub.requests) == 1
        return await adapter.get("press-01")

    seen = await cut(adapter.create("press-01", KEYS, enabled=True))
    assert (seen.keys if seen else None) == (KEYS if happened else None)
    before = seen or await adapter.create("press-01", KEYS, enabled=True)
    seen = await cut(adapter.update(before, enabled=False, credentials=KEYS))
    assert seen is not None
    assert (seen.enabled, seen.etag != before.etag) == (not happened, happened)
    assert await cut(adapter.get("press-01")) == seen
    assert await cut(adapter.probe()) == seen
    assert (await cut(adapter.delete(seen)) is None) == happened


async def test_a_hub_that_does_not_answer_in_time(lab: Lab) -> None:
    """After its time the outcome is unknown, and nothing is sent twice."""
    lab.hub.faults.add("latency", delay=1.0)
    assert await outcomes(lambda: lab.open(seconds=0.5)) == dict.fromkeys(CALLS, (UnavailableError, "Timeout"))
    assert len(lab.asked) <= len(CALLS)


async def test_a_slow_hub_within_the_time(lab: Lab, adapter: AzureHub) -> None:
    """A late answer is an answer."""
    lab.hub.faults.add("latency", delay=0.05)
    assert await adapter.get("press-01") is None


async def test_nobody_listens(lab: Lab) -> None:
    """A hub that is not there is unavailable."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert await outcomes(lambda: lab.open(port=port)) == dict.fromkeys(
            CALLS, (UnavailableError, "ConnectionError")
        )


async def test_a_certificate_of_another_authority(lab: Lab, tmp_path: pathlib.Path) -> None:
    """Whoever shows a certificate that nobody vouches for hears nothing of us."""
    ca_file = str(tls.prepare(tmp_path, ("localhost",)).ca_file)
    assert await outcomes(lambda: lab.open(ca_file=ca_file)) == dict.fromkeys(CALLS, (UnavailableError, "SSLError"))
    assert lab.asked == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param(401, RefusedError, id="401 of a gateway is refused"),
        pytest.param(404, UnavailableError, id="404 of a proxy does not mean that the device is absent"),
        pytest.param(407, UnavailableError, id="407 of a proxy is unavailable"),
        pytest.param(408, UnavailableError, id="408 of a proxy is unavailable"),
        pytest.param(413, UnavailableError, id="413 of a proxy is unavailable"),
        pytest.param(503, UnavailableError, id="503 of a proxy is unavailable"),
        pytest.param(204, UnavailableError, id="204 is no answer of a hub"),
    ],
)
async def test_answers_of_somebody_else(lab: Lab, tmp_path: pathlib.Path, status: int, kind: type[Exception]) -> None:
    """Without the hub's own word the status decides; a Retry-After is not waited for in the thread."""
    asked: list[int] = []

    def answer() -> web.Response:
        asked.append(status)
        return web.Response(status=status, headers={"Retry-After": "600"}, text=None if status == 204 else "<html>")

    certificate = tls.prepare(tmp_path, ("localhost",))
    async with odd_server(certificate.context, answer) as port:
        ca_file = str(certificate.ca_file)
        names = ("get", "create", "update", "probe")
        found = {name: await outcome(CALLS[name](lab.open(port=port, ca_file=ca_file))) for name in names}
    assert found == dict.fromkeys(names, (kind, f"HTTP{status}"))
    assert asked == [status] * (7 if kind is RefusedError else 4)
