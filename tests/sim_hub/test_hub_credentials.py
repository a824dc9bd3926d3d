"""Whom the emulated hub lets in: shared access signatures, bearer tokens, the devices' own keys."""

import base64
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from hub_client import PRIMARY, UNAUTHORIZED, Client, connected, once, owner, token

from edgeherd_sim.hub.server import Hub, serve

GOOD = (200, "")


def signed(hub: Hub, resource: str | None = None, **other: Any) -> str:
    """The owner's signature, but for what is other."""
    return token(resource or hub.authority, hub.policies["iothubowner"], **{"policy": "iothubowner", **other})


def small(text: str) -> str:
    """Percent-encoded with small hexadecimal digits, as .NET does it."""
    return urllib.parse.quote_plus(text).replace("%3A", "%3a").replace("%2F", "%2f")


def encoded_again(header: str) -> str:
    """The same fields, encoded by urlencode: a slash of the signature becomes %2F."""
    scheme, _, fields = header.partition(" ")
    return f"{scheme} {urllib.parse.urlencode(urllib.parse.parse_qsl(fields.replace('+', '%2B')))}"


def with_field(header: str, name: str, value: str) -> str:
    """The same signature with one field other, after it was signed."""
    scheme, _, fields = header.partition(" ")
    parts = dict(part.partition("=")[::2] for part in fields.split("&"))
    return f"{scheme} " + "&".join(f"{key}={text}" for key, text in {**parts, name: value}.items() if text)


SIGNATURES: dict[str, tuple[Callable[[Hub], str], tuple[int, str]]] = {
    "host and port, as this SDK signs them": (signed, GOOD),
    "a host without the port": (lambda hub: signed(hub, "localhost"), GOOD),
    "a host in capitals": (lambda hub: signed(hub, hub.authority.upper()), GOOD),
    "a signature for ten minutes, encoded by urlencode": (lambda hub: encoded_again(signed(hub, expires_in=600)), GOOD),
    "small hexadecimal digits that are signed as they are": (lambda hub: signed(hub, encode=small), GOOD),
    "small hexadecimal digits, signed in capitals": (lambda hub: signed(hub, encode=small, sign=once), GOOD),
    "a resource that is not encoded at all": (lambda hub: signed(hub, encode=str), GOOD),
    "a resource that is a part of the hub": (lambda hub: signed(hub, f"{hub.authority}/devices"), GOOD),
    "a resource that is just this address": (lambda hub: signed(hub, f"{hub.authority}/devices/press-01"), GOOD),
    "no header": (lambda _: "", UNAUTHORIZED),
    "a scheme that nobody knows": (lambda hub: signed(hub).replace("SharedAccess", "Basic"), UNAUTHORIZED),
    "a scheme without anything": (lambda _: "SharedAccessSignature", UNAUTHORIZED),
    "a wrong key": (lambda hub: token(hub.authority, PRIMARY, policy="iothubowner"), UNAUTHORIZED),
    "the key of another policy": (
        lambda hub: token(hub.authority, hub.policies["service"], policy="iothubowner"),
        UNAUTHORIZED,
    ),
    "a signature that has expired": (lambda hub: signed(hub, expires_in=-1), UNAUTHORIZED),
    "a life that was prolonged after signing": (lambda hub: with_field(signed(hub), "se", "4102444800"), UNAUTHORIZED),
    "a life that is no number": (lambda hub: with_field(signed(hub), "se", "never"), UNAUTHORIZED),
    "another host": (lambda hub: signed(hub, "other.azure-devices.net"), UNAUTHORIZED),
    "a resource that was encoded twice": (lambda hub: signed(hub, encode=lambda text: once(once(text))), UNAUTHORIZED),
    "a resource that is another device": (lambda hub: signed(hub, f"{hub.authority}/devices/press-02"), UNAUTHORIZED),
    "a resource that only starts alike": (lambda hub: signed(hub, f"{hub.authority}/devices/press"), UNAUTHORIZED),
    "a policy that nobody knows": (lambda hub: signed(hub, policy="intruder"), UNAUTHORIZED),
    "a policy in other letters": (lambda hub: signed(hub, policy="IotHubOwner"), UNAUTHORIZED),
    "no policy": (lambda hub: signed(hub, policy=None), UNAUTHORIZED),
    "no resource": (lambda hub: with_field(signed(hub), "sr", ""), UNAUTHORIZED),
    "no signature": (lambda hub: with_field(signed(hub), "sig", ""), UNAUTHORIZED),
    "a signature that is not base64": (lambda hub: with_field(signed(hub), "sig", "~~~"), UNAUTHORIZED),
}


@pytest.mark.parametrize("name", SIGNATURES)
async def test_signatures(hub: Hub, client: Client, name: str) -> None:
    """A signature opens the hub when key, life, host and policy are right, however it is encoded."""
    await client.made()
    header, expected = SIGNATURES[name]
    assert (await client.send("GET", "/devices/press-01", authorization=header(hub))).outcome == expected


READS = {"list", "get", "registry statistics"}
WRITES = {"put", "delete"}
REQUESTS = {
    "list": ("GET", "/devices"),
    "get": ("GET", "/devices/press-01"),
    "put": ("PUT", "/devices/press-02"),
    "delete": ("DELETE", "/devices/press-03"),
    "registry statistics": ("GET", "/statistics/devices"),
    "service statistics": ("GET", "/statistics/service"),
    "receive": ("GET", "/devices/press-01/messages/deviceBound"),
}


async def allowed(client: Client, authorization: str) -> set[str]:
    """Which requests this header opens."""
    await client.made(device_id="press-01")
    await client.made(device_id="press-03")
    found = set()
    for name, (method, path) in REQUESTS.items():
        body = {} if method == "PUT" else None
        answer = await client.send(
            method, path, body, if_match="*" if method == "DELETE" else None, authorization=authorization
        )
        assert answer.outcome in {(200, ""), (204, ""), UNAUTHORIZED}
        found |= {name} if answer.status < 300 else set()
    return found


@pytest.mark.parametrize(
    ("policy", "rights"),
    [
        pytest.param("iothubowner", set(REQUESTS), id="iothubowner may do everything"),
        pytest.param("registryRead", READS, id="registryRead may look"),
        pytest.param("registryReadWrite", READS | WRITES, id="registryReadWrite may look and write"),
        pytest.param("service", {"service statistics"}, id="service has no right on identities"),
        pytest.param("device", {"receive"}, id="device is for the devices' side"),
    ],
)
async def test_rights_of_the_built_in_policies(hub: Hub, client: Client, policy: str, rights: set[str]) -> None:
    """Each policy opens its own part of the hub and nothing else."""
    assert await allowed(client, owner(hub, policy)) == rights


def jwt(claims: Any, header: Any = None) -> str:
    """A bearer token of nobody in particular."""
    parts = [json.dumps(header or {"alg": "none"}), json.dumps(claims), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


async def test_bearer_tokens_have_the_rights_of_a_contributor(client: Client) -> None:
    """Entra's tokens open registry and statistics, but not the devices' side."""
    rights = await allowed(client, f"Bearer {jwt({'exp': time.time() + 600})}")
    assert rights == READS | WRITES | {"service statistics"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(f"Bearer {jwt({'exp': time.time() + 6000})}", GOOD, id="a token that has not expired"),
        pytest.param(f"bearer {jwt({'aud': 'x'})}", GOOD, id="a token without an end"),
        pytest.param(f"Bearer {jwt({'exp': time.time() - 1})}", UNAUTHORIZED, id="a token that has expired"),
        pytest.param(f"Bearer {jwt({'exp': 'soon'})}", UNAUTHORIZED, id="a token whose end is no number"),
        pytest.param(f"Bearer {jwt(['x'])}", UNAUTHORIZED, id="a token without claims"),
        pytest.param("Bearer one.two.three", UNAUTHORIZED, id="a token that is no JSON"),
        pytest.param("Bearer secret", UNAUTHORIZED, id="a token that is no JWT"),
        pytest.param("Bearer", UNAUTHORIZED, id="no token"),
    ],
)
async def test_any_bearer_token(client: Client, header: str, expected: tuple[int, str]) -> None:
    """Unless told otherwise the hub takes any JWT that is readable and alive."""
    assert (await client.send("GET", "/devices", authorization=header)).outcome == expected


async def test_one_bearer_token() -> None:
    """A hub that was told its token takes this one only."""
    async with serve(bearer_token="opensesame") as hub, connected(hub) as client:
        headers = ("Bearer opensesame", "Bearer openbarley", f"Bearer {jwt({})}")
        found = [(await client.send("GET", "/devices", authorization=header)).outcome for header in headers]
    assert found == [GOOD, UNAUTHORIZED, UNAUTHORIZED]


def own(hub: Hub, device_id: str = "press-01", key: str | None = None, **other: Any) -> str:
    """A device's own signature."""
    keys = hub.store.device(device_id).authentication
    return token(f"localhost/devices/{device_id}", key or keys.primary_key or PRIMARY, **other)


DEVICE_KEYS: dict[str, tuple[Callable[[Hub], str], int]] = {
    "the primary key": (own, 204),
    "the secondary key": (lambda hub: own(hub, key=hub.store.device("press-01").authentication.secondary_key), 204),
    "a wrong key": (lambda hub: own(hub, key=PRIMARY), 401),
    "a signature that has expired": (lambda hub: own(hub, expires_in=-1), 401),
    "the key of another device for itself": (lambda hub: own(hub, "press-02"), 401),
    "the key of another device for this one": (
        lambda hub: own(hub, key=hub.store.device("press-02").authentication.primary_key),
        401,
    ),
    "the key before it was rotated": (lambda hub: (own(hub), hub.store.rotate(("press-01", ""), "primaryKey"))[0], 401),
    "a disabled device": (lambda hub: (own(hub), hub.store.set_status("press-01", "disabled"))[0], 401),
    "a deleted device": (lambda hub: (own(hub), hub.store.remove("press-01"))[0], 401),
    "a device that was made anew": (lambda hub: (own(hub), hub.store.recreate("press-01"))[0], 401),
    "a device's key for the whole hub": (
        lambda hub: token("localhost", hub.store.device("press-01").authentication.primary_key or ""),
        401,
    ),
}


@pytest.mark.parametrize("name", DEVICE_KEYS)
async def test_keys_of_devices(hub: Hub, client: Client, name: str) -> None:
    """A device's key opens its own side of the hub as long as it is enabled; no api-version is needed there."""
    await client.made()
    await client.made(device_id="press-02")
    header, status = DEVICE_KEYS[name]
    path = "/devices/press-01/messages/deviceBound"
    assert (await client.send("GET", path, authorization=header(hub), version=None)).status == status


async def test_a_device_is_no_service_client(hub: Hub, client: Client) -> None:
    """With its own key a device cannot even look at its own identity."""
    await client.made()
    authorization = own(hub)
    found = [
        (await client.send(method, "/devices/press-01", authorization=authorization)).outcome
        for method in ("GET", "DELETE")
    ]
    assert found == [UNAUTHORIZED, UNAUTHORIZED]


async def test_a_device_with_a_certificate_has_no_key(hub: Hub, client: Client) -> None:
    """Nothing that could be guessed opens a device that does not authenticate by keys."""
    await client.made({"authentication": {"type": "selfSigned"}})
    path = "/devices/press-01/messages/deviceBound"
    assert (await client.send("GET", path, authorization=own(hub))).outcome == UNAUTHORIZED


async def test_a_module_opens_its_own_side(hub: Hub, client: Client) -> None:
    """A module's key is good for the module, its device's key for both."""
    await client.made()
    module = hub.store.put_module("press-01", "vision", {"authentication": {"type": "sas"}}, None)
    keys = {
        "module": token("localhost/devices/press-01/modules/vision", module.authentication.primary_key or ""),
        "device": own(hub),
    }
    paths = ("/devices/press-01/messages/deviceBound", "/devices/press-01/modules/vision/messages/deviceBound")
    found = {
        name: [(await client.send("GET", path, authorization=header)).status for path in paths]
        for name, header in keys.items()
    }
    assert found == {"module": [401, 204], "device": [204, 204]}
