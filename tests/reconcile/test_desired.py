"""What a spec asks of the daemon's file and of the files beside it."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_lab import HOST, edge_device

from edgeherd import config
from edgeherd.device.port import ABSENT, OtherFile, Owner
from edgeherd.errors import Stalled
from edgeherd.model import EdgeDevice, Secret
from edgeherd.reconcile import desired
from edgeherd.reconcile.desired import PROXY_LOGIN, DesiredState
from edgeherd.reconcile.steps.identity import Certificate

YAML, TOML = config.Dialect.YAML, config.Dialect.TOML
IOTEDGE = "/etc/systemd/system/iotedge.service.d/50-edgeherd-proxy.conf"
EDGED = "/etc/systemd/system/aziot-edged.service.d/50-edgeherd-proxy.conf"
IDENTITYD = "/etc/systemd/system/aziot-identityd.service.d/50-edgeherd-proxy.conf"
STRING = f"HostName={HOST};DeviceId=press-01;SharedAccessKey=c2VjcmV0"
X509 = {"authentication": "SelfSignedX509", "x509": {"certificateSecretRef": {"name": "cert"}}}
CERTIFICATE = Certificate(certificate=b"PUBLIC", private_key=b"PRIVATE")


def secret(**data: bytes | str) -> Secret:
    """A Secret with this in it."""
    return Secret(
        namespace="plant-a",
        name="login",
        type="Opaque",
        data={key: value.encode() if isinstance(value, str) else value for key, value in data.items()},
        labels={},
        annotations={},
        owner_uids=(),
        resource_version="1",
    )


def state(device: EdgeDevice | None = None, **more: Any) -> DesiredState:
    """What the pass found out before."""
    return DesiredState(device=device or edge_device(), host_name=HOST, connection_string=STRING, **more)


def files(intent_: DesiredState, dialect: config.Dialect, found: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The files that must change, by path."""
    return {
        file.path: (file.content and file.content.decode(), file.owner, file.mode)
        for file in desired.other_files(intent_, dialect, found or {})
    }


# ---- the daemon's file


@pytest.mark.parametrize(
    ("spec", "more", "ours", "expected"),
    [
        pytest.param({}, {}, False, config.Wanted(connection_string=STRING), id="the least"),
        pytest.param(
            {
                "runtime": {
                    "hostname": "press",
                    "dynamicReprovisioning": True,
                    "agent": {"image": "a:1", "env": {"A": "b", "UpstreamProtocol": "Amqp", "https_proxy": "x"}},
                    "proxy": {"httpsProxy": "http://proxy:3128", "upstreamProtocol": "AmqpWs"},
                }
            },
            {
                "proxy": "http://me:pw@proxy:3128",
                "registry": config.RegistryAuth(server_address="r", username="u", password="p"),
            },
            True,
            config.Wanted(
                connection_string=STRING,
                dynamic_reprovisioning=True,
                hostname="press",
                agent_image="a:1",
                agent_auth=config.RegistryAuth(server_address="r", username="u", password="p"),
                agent_env={"A": "b", "UpstreamProtocol": "AmqpWs", "https_proxy": "http://me:pw@proxy:3128"},
            ),
            id="everything; the proxy's own fields come before the environment",
        ),
        pytest.param(
            {}, {}, True, config.Wanted(connection_string=STRING, agent_env={"https_proxy": None}), id="our proxy goes"
        ),
        pytest.param(
            {"runtime": {"agent": {"env": {"https_proxy": "http://mine"}}}},
            {},
            True,
            config.Wanted(connection_string=STRING, agent_env={"https_proxy": "http://mine"}),
            id="our proxy goes, and the spec has another for edgeAgent alone",
        ),
        pytest.param(
            {"identity": X509},
            {"certificate": CERTIFICATE},
            False,
            config.Wanted(
                x509=config.X509(
                    iothub_hostname=HOST,
                    device_id="press-01",
                    identity_cert="file:///etc/iotedge/edgeherd/identity.pem",
                    identity_pk="file:///etc/iotedge/edgeherd/identity.key.pem",
                )
            ),
            id="a certificate in the usual place",
        ),
        pytest.param(
            {
                "identity": {
                    "authentication": "SelfSignedX509",
                    "x509": {
                        "primaryThumbprint": "A" * 40,
                        "certificatePath": "/etc/ssl/a.pem",
                        "privateKeyPath": "/etc/ssl/a.key",
                    },
                }
            },
            {},
            False,
            config.Wanted(
                x509=config.X509(
                    iothub_hostname=HOST,
                    device_id="press-01",
                    identity_cert="file:///etc/ssl/a.pem",
                    identity_pk="file:///etc/ssl/a.key",
                )
            ),
            id="a certificate that the device has",
        ),
    ],
)
def test_what_the_file_shall_say(
    spec: dict[str, Any], more: dict[str, Any], ours: bool, expected: config.Wanted
) -> None:
    """None of what the spec leaves open."""
    device = edge_device(**spec)
    assert desired.configuration(state(device, **more), YAML, proxy_was_ours=ours) == expected


# ---- the proxy

PLAIN = {"runtime": {"proxy": {"httpsProxy": "http://proxy:3128"}}}
WITH_LOGIN = {"runtime": {"proxy": {"httpsProxy": "http://proxy:3128", "credentialsSecretRef": {"name": "login"}}}}
DROP_IN = '# Written by edgeherd.\n[Service]\nEnvironment="https_proxy=http://proxy:3128"\n'
LOGIN_DROP_IN = f"# Written by edgeherd.\n[Service]\nEnvironmentFile={PROXY_LOGIN}\n"
OPEN = (Owner.ROOT, "644")
CLOSED = (Owner.ROOT, "600")
GONE = (None, *OPEN)


@pytest.mark.parametrize(
    ("spec", "proxy", "dialect", "found", "expected"),
    [
        pytest.param({}, None, YAML, {}, {}, id="none wanted, none there"),
        pytest.param(PLAIN, "http://proxy:3128", YAML, {}, {IOTEDGE: (DROP_IN, *OPEN)}, id="1.1: the daemon alone"),
        pytest.param(
            PLAIN,
            "http://proxy:3128",
            TOML,
            {},
            {EDGED: (DROP_IN, *OPEN), IDENTITYD: (DROP_IN, *OPEN)},
            id="1.5: the daemon and the one that asks the hub",
        ),
        pytest.param(
            PLAIN,
            "http://proxy:3128",
            TOML,
            {IOTEDGE: "0a", PROXY_LOGIN: "0b"},
            {
                PROXY_LOGIN: (None, *CLOSED),
                IOTEDGE: GONE,
                EDGED: (DROP_IN, *OPEN),
                IDENTITYD: (DROP_IN, *OPEN),
            },
            id="after an update, and without the login of before",
        ),
        pytest.param(
            WITH_LOGIN,
            "http://me:p%25w@proxy:3128",
            YAML,
            {},
            {PROXY_LOGIN: ("https_proxy=http://me:p%25w@proxy:3128\n", *CLOSED), IOTEDGE: (LOGIN_DROP_IN, *OPEN)},
            id="a login is in a file that root alone can read",
        ),
        pytest.param(
            {},
            None,
            TOML,
            {EDGED: "0a", IDENTITYD: "0b", PROXY_LOGIN: "0c", IOTEDGE: ABSENT},
            {PROXY_LOGIN: (None, *CLOSED), EDGED: GONE, IDENTITYD: GONE},
            id="the spec has it no more",
        ),
        pytest.param(
            PLAIN,
            "http://[fd00::1]:3128",
            YAML,
            {},
            {IOTEDGE: (DROP_IN.replace("proxy:3128", "[fd00::1]:3128"), *OPEN)},
            id="a proxy by its IPv6 address",
        ),
        pytest.param(
            {"runtime": {**PLAIN["runtime"], "operatingSystem": "Windows"}},
            "http://proxy:3128",
            YAML,
            {},
            {},
            id="Windows has no such files",
        ),
    ],
)
def test_the_proxys_files(
    spec: dict[str, Any], proxy: str | None, dialect: config.Dialect, found: dict[str, str], expected: dict[str, Any]
) -> None:
    """Each service that talks to the hub has its own; what is not wanted goes."""
    assert files(state(edge_device(**spec), proxy=proxy), dialect, found) == expected


@pytest.mark.parametrize("spec", [PLAIN, WITH_LOGIN, {}])
@pytest.mark.parametrize("dialect", [YAML, TOML])
def test_what_is_as_wanted_is_left_alone(spec: dict[str, Any], dialect: config.Dialect) -> None:
    """The second look finds nothing to do, and knows whose it is."""
    wish = state(edge_device(**spec), proxy="http://proxy:3128" if spec else None)
    found = {file.path: file.after for file in desired.other_files(wish, dialect, {})}
    assert desired.other_files(wish, dialect, found) == ()
    assert desired.proxy_was_ours(found) is bool(spec)


SPECIAL = "p@ss:w/o r%d$\"'\\#;&\u00e4"
QUOTED = "p%40ss%3Aw%2Fo%20r%25d%24%22%27%5C%23%3B%26%C3%A4"


@pytest.mark.parametrize(
    ("url", "data", "expected"),
    [
        ("http://proxy:3128", {"username": "me", "password": "pw"}, "http://me:pw@proxy:3128"),
        ("https://proxy/", {"username": "me", "password": "pw"}, "https://me:pw@proxy/"),
        ("http://[fd00::1]:3128", {"username": "me", "password": "pw"}, "http://me:pw@[fd00::1]:3128"),
        ("http://proxy", {"username": SPECIAL, "password": SPECIAL}, f"http://{QUOTED}:{QUOTED}@proxy"),
        ("http://proxy", {"username": "DOM\\me\r\n", "password": "pw\n"}, "http://DOM%5Cme:pw@proxy"),
        ("http://proxy", {"username": b"\xff", "password": b"\x00"}, "http://%FF:%00@proxy"),
    ],
)
def test_a_proxys_login_is_part_of_its_url(url: str, data: dict[str, Any], expected: str) -> None:
    """Whatever its letters are; the line break at the end of a file is none of them."""
    device = edge_device(runtime={"proxy": {"httpsProxy": url}})
    assert desired.proxy_url(device, secret(**data)) == expected


@pytest.mark.parametrize("data", [{}, {"username": "me"}, {"password": "pw"}, {"username": "\n", "password": "pw"}])
def test_half_a_login_is_none(data: dict[str, str]) -> None:
    """And the message says which field it is about."""
    device = edge_device(runtime={"proxy": {"httpsProxy": "http://proxy"}})
    with pytest.raises(Stalled) as caught:
        desired.proxy_url(device, secret(**data))
    message = "Secret 'login' (spec.runtime.proxy.credentialsSecretRef) needs 'username' and 'password'. Fix it."
    assert (caught.value.reason, caught.value.message) == ("ProxySecretInvalid", message)


@given(st.text(min_size=1), st.text(min_size=1))
def test_systemd_reads_the_very_url(username: str, password: str) -> None:
    """In the login's file nothing needs quoting; in a drop-in a percent sign is doubled, and nothing else is special."""
    device = edge_device(**WITH_LOGIN)
    try:
        url = desired.proxy_url(device, secret(username=username, password=password))
    except Stalled:
        return
    assert url is not None
    assert set(url) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:/@%-._~")
    content = files(state(device, proxy=url), YAML)[PROXY_LOGIN][0]
    assert content == f"https_proxy={url}\n"


def test_a_percent_sign_in_a_drop_in() -> None:
    """To systemd it begins a specifier."""
    content = files(state(edge_device(**PLAIN), proxy="http://a%20b@proxy"), YAML)[IOTEDGE][0]
    assert content == '# Written by edgeherd.\n[Service]\nEnvironment="https_proxy=http://a%%20b@proxy"\n'


# ---- certificates


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            YAML,
            {
                "/etc/iotedge/edgeherd/identity.pem": ("PUBLIC", Owner.DAEMON, "400"),
                "/etc/iotedge/edgeherd/identity.key.pem": ("PRIVATE", Owner.DAEMON, "400"),
            },
        ),
        (
            TOML,
            {
                "/etc/aziot/edgeherd/identity.pem": ("PUBLIC", Owner.CERTIFICATE_SERVICE, "400"),
                "/etc/aziot/edgeherd/identity.key.pem": ("PRIVATE", Owner.KEY_SERVICE, "400"),
            },
        ),
    ],
)
def test_a_certificate_is_its_readers(dialect: config.Dialect, expected: dict[str, Any]) -> None:
    """The key is nobody else's."""
    device = edge_device(identity=X509)
    assert files(state(device, certificate=CERTIFICATE), dialect) == expected
    assert set(expected) <= set(desired.queried_files(device))


def test_a_certificate_without_a_secret_is_the_devices_own() -> None:
    """It is neither written nor removed."""
    paths = {"certificatePath": "/etc/a.pem", "privateKeyPath": "/etc/a.key"}
    device = edge_device(
        identity={"authentication": "SelfSignedX509", "x509": {"primaryThumbprint": "A" * 40, **paths}}
    )
    assert files(state(device), YAML) == {}
    assert desired.leftovers(device, {"/etc/a.pem": "0a", "/etc/a.key": "0b"}) == ()


# ---- what is left when a device is let go


@pytest.mark.parametrize(
    ("spec", "found", "expected"),
    [
        ({}, {}, []),
        ({}, {IOTEDGE: ABSENT, PROXY_LOGIN: ABSENT}, []),
        (
            {},
            {IOTEDGE: "0a", EDGED: "0b", IDENTITYD: "0c", PROXY_LOGIN: "0d"},
            [IOTEDGE, EDGED, IDENTITYD, PROXY_LOGIN],
        ),
        ({}, {"/etc/iotedge/edgeherd/identity.key.pem": "0a"}, []),
        (
            {"identity": X509},
            {"/etc/iotedge/edgeherd/identity.key.pem": "0a", "/etc/aziot/edgeherd/identity.pem": "0b"},
            ["/etc/iotedge/edgeherd/identity.key.pem", "/etc/aziot/edgeherd/identity.pem"],
        ),
        (
            {
                "identity": {
                    "authentication": "SelfSignedX509",
                    "x509": {
                        "certificateSecretRef": {"name": "cert"},
                        "certificatePath": "/etc/a.pem",
                        "privateKeyPath": "/etc/a.key",
                    },
                }
            },
            {"/etc/a.pem": "0a", "/etc/a.key": "0b"},
            ["/etc/a.pem", "/etc/a.key"],
        ),
    ],
)
def test_leftovers(spec: dict[str, Any], found: dict[str, str], expected: list[str]) -> None:
    """All that we placed, once, also where a runtime of before looked for it."""
    assert desired.leftovers(edge_device(**spec), found) == tuple(
        OtherFile(path=path, before=found[path], content=None, owner=Owner.ROOT, mode="600") for path in expected
    )


def test_windows_has_no_files_beside_the_daemons() -> None:
    """And its service has a plain name."""
    device = edge_device(runtime={"operatingSystem": "Windows"})
    assert desired.queried_files(device) == ()
    assert desired.daemon_unit(device, YAML) == "iotedge"
    assert [desired.daemon_unit(edge_device(), dialect) for dialect in (YAML, TOML)] == [
        "iotedge.service",
        "aziot-edged.service",
    ]


# ---- registries


def encoded(text: str) -> str:
    """As `auth` has it."""
    return base64.b64encode(text.encode()).decode()


LOGIN = {"auth": encoded("me:pw")}


@pytest.mark.parametrize(
    ("image", "auths", "expected"),
    [
        pytest.param("reg.io/a:1", {"reg.io": LOGIN}, ("reg.io", "me", "pw"), id="auth alone"),
        pytest.param("reg.io/a", {"reg.io": {"username": "me", "password": "pw"}}, ("reg.io", "me", "pw"), id="in words"),
        pytest.param(
            "reg.io/a",
            {"reg.io": {"username": "you", "password": "it", "auth": encoded("me:pw"), "email": "x"}},
            ("reg.io", "you", "it"),
            id="both, as kubectl writes it",
        ),
        pytest.param("reg.io/a", {"https://reg.io/v2/": LOGIN}, ("reg.io", "me", "pw"), id="a URL"),
        pytest.param("reg.io/a", {"http://REG.io": LOGIN}, ("reg.io", "me", "pw"), id="a URL in capitals"),
        pytest.param("reg:5000/a@sha256:0a", {"reg:5000": LOGIN}, ("reg:5000", "me", "pw"), id="a port"),
        pytest.param("localhost/a", {"localhost": LOGIN}, ("localhost", "me", "pw"), id="localhost"),
        pytest.param("a/b:1", {"https://index.docker.io/v1/": LOGIN}, ("docker.io", "me", "pw"), id="Docker Hub by its old name"),
        pytest.param("docker.io/a/b", {"registry-1.docker.io": LOGIN}, ("docker.io", "me", "pw"), id="by another"),
        pytest.param("index.docker.io/a", {"docker.io": LOGIN}, ("docker.io", "me", "pw"), id="by its own"),
        pytest.param("b.io/x", {"a.io": {}, "b.io": LOGIN}, ("b.io", "me", "pw"), id="one of several"),
        pytest.param(None, {"reg.io": LOGIN}, ("reg.io", "me", "pw"), id="the only one, for the device's own image"),
        pytest.param("reg.io/a", {"reg.io": {"auth": encoded("me:p:w")}}, ("reg.io", "me", "p:w"), id="a colon"),
        pytest.param("reg.io/a", {"reg.io": {"auth": encoded("me:pw\n")}}, ("reg.io", "me", "pw"), id="echo's line break"),
        pytest.param("reg.io/a", {"reg.io": {"auth": encoded("me:pw") + "\n"}}, ("reg.io", "me", "pw"), id="base64's line break"),
        pytest.param("reg.io/a", {"reg.io": {"auth": encoded("me:pw1").rstrip("=")}}, ("reg.io", "me", "pw1"), id="no padding"),
        pytest.param("reg.io/a", {"reg.io": {"auth": encoded("me:p\u00e4\U0001f600")}}, ("reg.io", "me", "p\u00e4\U0001f600"), id="letters of all kinds"),
    ],
)  # fmt: skip
def test_a_registrys_login(image: str | None, auths: dict[str, Any], expected: tuple[str, str, str]) -> None:
    """All forms in which Docker and kubectl write it."""
    device = edge_device(runtime={"agent": {"image": image} if image else {}})
    text = json.dumps({"auths": auths}) + "\n"
    server, username, password = expected
    assert desired.registry_auth(device, secret(**{".dockerconfigjson": text})) == config.RegistryAuth(
        server_address=server, username=username, password=password
    )


UNUSABLE = "has no usable '.dockerconfigjson'. Create it with 'kubectl create secret docker-registry'."


def other_kind(server: str) -> str:
    """A login that a device cannot use."""
    return f"has no user name and password for '{server}'. A token of another kind cannot be used by a device."


@pytest.mark.parametrize(
    ("image", "text", "says"),
    [
        pytest.param("reg.io/a", None, UNUSABLE, id="nothing"),
        pytest.param("reg.io/a", b"\xff", UNUSABLE, id="no text"),
        pytest.param("reg.io/a", "[]", UNUSABLE, id="no mapping"),
        pytest.param("reg.io/a", '{"auths":[]}', UNUSABLE, id="no mapping within"),
        pytest.param("reg.io/a", '{"credHelpers":{}}', UNUSABLE, id="a helper"),
        pytest.param("reg.io/a", "[" * 100_000, UNUSABLE, id="very deep"),
        pytest.param("reg.io/a", {"other.io": LOGIN}, "has no login for 'reg.io'. Add it.", id="another registry"),
        pytest.param("a/b", {"reg.io": LOGIN}, "has no login for 'docker.io'. Add it.", id="an image of Docker Hub"),
        pytest.param(
            None,
            {"a.io": LOGIN, "b.io": LOGIN},
            "has no login for one registry alone, and spec.runtime.agent.image does not say which. Add it.",
            id="one of several, and no image",
        ),
        pytest.param("reg.io/a", {"reg.io": {"identitytoken": "x"}}, other_kind("reg.io"), id="a token"),
        pytest.param("reg.io/a", {"reg.io": {"auth": encoded("00000000-0:")}}, other_kind("reg.io"), id="half a token"),
        pytest.param("reg.io/a", {"reg.io": {"auth": "%%%"}}, other_kind("reg.io"), id="no base64"),
        pytest.param("reg.io/a", {"reg.io": {"auth": "/w=="}}, other_kind("reg.io"), id="base64 of no text"),
        pytest.param("reg.io/a", {"reg.io": {"auth": 5}}, other_kind("reg.io"), id="a number"),
        pytest.param("reg.io/a", {"reg.io": {"username": 5, "password": 6}}, other_kind("reg.io"), id="numbers"),
        pytest.param("reg.io/a", {"reg.io": None}, other_kind("reg.io"), id="null"),
        pytest.param(
            "reg.io/a", {"reg.io": {"username": "me", "password": "\ud800"}}, other_kind("reg.io"), id="half a letter"
        ),
    ],
)
def test_a_registry_without_a_login(image: str | None, text: Any, says: str) -> None:
    """The message says what is missing, and nothing of what is there."""
    device = edge_device(runtime={"agent": {"image": image} if image else {}})
    if isinstance(text, dict):
        text = json.dumps({"auths": text})
    data = {} if text is None else {".dockerconfigjson": text}
    with pytest.raises(Stalled) as caught:
        desired.registry_auth(device, secret(**data))
    message = f"Secret 'login' (spec.runtime.agent.registryAuthSecretRef) {says}"
    assert (caught.value.reason, caught.value.message) == ("RegistrySecretInvalid", message)


JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["auths", "reg.io", "auth"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["auths", "reg.io", "auth"]), inner),
)


@given(
    st.binary()
    | JSON.map(lambda said: json.dumps(said).encode())
    | JSON.map(lambda said: json.dumps({"auths": said}).encode())
)
def test_any_registry_secret_is_a_login_or_refused(text: bytes) -> None:
    """Nothing but Stalled."""
    device = edge_device(runtime={"agent": {"image": "reg.io/a"}})
    try:
        found = desired.registry_auth(device, secret(**{".dockerconfigjson": text}))
    except Stalled:
        return
    assert found.username.encode()
    assert found.password.encode()
