"""What the daemons' logs say is in the way of edgeAgent: the texts are those of their sources."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeherd.device.journal import Diagnosis, diagnose
from edgeherd_sim.devices import messages

# ---- iotedged 1.0 and 1.1

WATCHDOG = "Error in watchdog when checking for edge runtime status:\nA module runtime error occurred."
IDENTITY = f"{WATCHDOG}\n\tcaused by: Could not get identity $edgeAgent\n\tcaused by: Could not get module $edgeAgent\n"
UNAUTHORIZED = (
    "HTTP request failed: [401 Unauthorized] "
    '{"Message":"ErrorCode:IotHubUnauthorizedAccess;Unauthorized","ExceptionMessage":"Tracking ID:404-G:0"}'
)
UNAUTHORIZED_NEW = (
    r'HTTP request failed: [401 Unauthorized] {"Message":"{\"errorCode\":401002,\"message\":\"Unauthorized access\",'
    r'\"trackingId\":\"404\"}"}'
)
NO_HUB = (
    'HTTP request failed: [401 Unauthorized] {"Message":"ErrorCode:IotHubNotFound;Unauthorized","ExceptionMessage":""}'
)
NOT_EDGE = (
    "Error in watchdog when checking for edge runtime status:\n"
    "Edge runtime module has not been created in IoT Hub. Please make sure this device is an IoT Edge capable device."
)
OPENSSL = "error:1416F086:SSL routines:tls_process_server_certificate:certificate verify failed:ssl/statem/statem_clnt.c:1915:"


def refused_by_hub(text: str) -> str:
    """The daemon asked the hub, and this came of it."""
    return f"{IDENTITY}\tcaused by: {text}"


def no_request(text: str) -> str:
    """The daemon could not even ask."""
    return refused_by_hub(f"Could not perform HTTP request\n\tcaused by: error trying to connect: {text}")


def pull(text: str) -> str:
    """The daemon could not pull edgeAgent's image."""
    return f"Could not pull image IMG\n\tcaused by: {text}\n{WATCHDOG}\n\tcaused by: Could not pull image IMG\n\tcaused by: {text}"


DIES_LATER = f"{WATCHDOG}\n\tcaused by: Could not list modules\n\tcaused by: Container runtime error\n\tcaused by: error trying to connect: {{}}"
NO_RUNTIME = (
    "The daemon could not start up successfully: Could not initialize module runtime\n"
    "\tcaused by: Container runtime error\n\tcaused by: {}"
)
NO_SETTINGS = "The daemon could not start up successfully: Could not load settings\n\tcaused by: invalid type"

# ---- aziot-edged and aziot-identityd 1.3 to 1.6

HUB_CLIENT = "Error in watchdog: Failed to update $edgeAgent identity: Hub client error\ncaused by: {}"
PROVISIONING = (
    "Could not reconcile Identities with current device data. Reprovisioning.\n"
    "Failed to provision with IoT Hub, and no valid device backup was found: Hub client error\n"
    "service encountered an error\ncaused by: Hub client error\ncaused by: {}"
)
ANSWERED = "!!! Hub client error\n!!! caused by: {}\n--> 404 {{}}"
SENDING = "Failed to send HTTP request (attempt 1 of 2): {}"
HUB_SAYS_NO = (
    "ErrorCode:IotHubUnauthorizedAccess;Unauthorized",
    '{"errorCode":401002,"trackingId":"404"}',
    "HTTP error 401 Unauthorized",
)
RESET = SENDING.format("connection error: Connection reset by peer (os error 104)")
OFFLINE = "Network not available for Identity reconciliation. Using offline backup from last run."
AZIOT_OPENSSL = "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:ssl/statem.c"
NO_PULL = 'Error in watchdog: Failed to pull Edge runtime module: registry operation error: pull image "IMG"'
NOT_TO_INITIALIZE = "Failed to initialize module runtime: runtime operation error: initialize module runtime"


def engine(text: str, then: str = NO_PULL) -> str:
    """The daemon heard this of the container engine."""
    return f"container runtime error\n\nCaused by:\n    {text}\n{then}"


# ---- Docker

DOCKER = {
    "manifest for X not found: manifest unknown: manifest unknown": Diagnosis.IMAGE_MISSING,
    "no matching manifest for linux/arm/v7": Diagnosis.IMAGE_MISSING,
    (
        "pull access denied for X, repository does not exist or may require 'docker login': denied: requested access to "
        "the resource is denied"
    ): Diagnosis.IMAGE_REFUSED,
    "unauthorized: incorrect username or password": Diagnosis.IMAGE_REFUSED,
    (
        'Get "https://mcr.microsoft.com/v2/": dial tcp: lookup mcr.microsoft.com on 10.0.0.1:53: server misbehaving'
    ): Diagnosis.REGISTRY_UNREACHABLE,
    (
        'Get "https://mcr.microsoft.com/v2/": dial tcp: lookup mcr.microsoft.com: no such host'
    ): Diagnosis.REGISTRY_UNREACHABLE,
    (
        "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"
    ): Diagnosis.REGISTRY_UNREACHABLE,
    'Get "https://mcr.microsoft.com/v2/": Proxy Authentication Required': Diagnosis.REGISTRY_UNREACHABLE,
    "write /var/lib/docker/tmp/x: no space left on device": Diagnosis.IMAGE,
}

CLASSIC = [
    ("a wrong key", refused_by_hub(UNAUTHORIZED), Diagnosis.KEY_REFUSED),
    ("a wrong key, as newer hubs say it", refused_by_hub(UNAUTHORIZED_NEW), Diagnosis.KEY_REFUSED),
    ("the hub's name is nobody's", refused_by_hub(NO_HUB), Diagnosis.HUB_NOT_FOUND),
    ("no edge device", NOT_EDGE, Diagnosis.NOT_REGISTERED),
    ("no name service", no_request("failed to lookup address information: Name or service not known"), Diagnosis.NAME),
    ("nobody listens", no_request("Connection refused (os error 111)"), Diagnosis.NETWORK),
    ("nobody answers", no_request("Connection timed out (os error 110)"), Diagnosis.NETWORK),
    ("a certificate that is not trusted", no_request(OPENSSL), Diagnosis.TLS),
    ("a proxy that wants a login", no_request("unsuccessful tunnel"), Diagnosis.PROXY),
    ("a proxy that hangs up", no_request("unexpected EOF while tunnel reading"), Diagnosis.PROXY),
    (
        "1.0.9 puts it otherwise",
        refused_by_hub(
            "Could not perform HTTP request\n\tcaused by: an error occurred trying to connect: Connection refused (os error 111)"
        ),
        Diagnosis.NETWORK,
    ),
    *((f"a pull: {text[:40]}", pull(text), found) for text, found in DOCKER.items()),
    ("no engine", NO_RUNTIME.format("error trying to connect: Connection refused (os error 111)"), Diagnosis.ENGINE),
    (
        "no engine's socket",
        NO_RUNTIME.format('Invalid URL "unix:///var/run/docker.sock": Socket file could not be found'),
        Diagnosis.ENGINE,
    ),
    ("an engine that dies later", DIES_LATER.format("Connection refused (os error 111)"), Diagnosis.ENGINE),
    ("settings", NO_SETTINGS, Diagnosis.SETTINGS),
    ("nothing", "", None),
    ("a good start", "Starting Azure IoT Edge Security Daemon\nVersion - 1.1.15\nEdge runtime is running.", None),
    ("a crash of another kind", "The daemon could not start up successfully: A module runtime error occurred", None),
]
AZIOT = [
    *((f"a pull: {text[:40]}", engine(f"HTTP 404 Not Found: {text}"), found) for text, found in DOCKER.items()),
    ("a pull without a cause", NO_PULL, Diagnosis.IMAGE),
    (
        "an engine that may not be asked",
        engine("0: error trying to connect: Permission denied (os error 13)", NOT_TO_INITIALIZE),
        Diagnosis.ENGINE,
    ),
    (
        "an engine that dies later",
        engine("0: error trying to connect: Connection refused (os error 111)"),
        Diagnosis.ENGINE,
    ),
    *(
        (f"a wrong key: {frame[:20]}, {text[:20]}", frame.format(text), Diagnosis.KEY_REFUSED)
        for frame in (HUB_CLIENT, PROVISIONING, ANSWERED)
        for text in HUB_SAYS_NO
    ),
    *(
        (f"an unknown device: {frame[:20]}, {text[:20]}", frame.format(text), Diagnosis.NOT_REGISTERED)
        for frame in (HUB_CLIENT, PROVISIONING, ANSWERED)
        for text in ('{"errorCode":404001,"message":"x"}', "ErrorCode:DeviceNotFound;x")
    ),
    (
        "no edge device",
        ANSWERED.format('{"errorCode":404010,"message":"Device X Module $edgeAgent at IotHub Y not registered."}'),
        Diagnosis.NOT_REGISTERED,
    ),
    (
        "the hub's name is nobody's",
        PROVISIONING.format("ErrorCode:IotHubNotFound;Unauthorized"),
        Diagnosis.HUB_NOT_FOUND,
    ),
    (
        "the daemon hears of no name service",
        HUB_CLIENT.format("error trying to connect: dns error: failed to lookup address information: x"),
        Diagnosis.NAME,
    ),
    (
        "no name service",
        SENDING.format(
            "error trying to connect: dns error: failed to lookup address information: Temporary failure in name resolution"
        ),
        Diagnosis.NAME,
    ),
    (
        "nobody listens",
        SENDING.format("error trying to connect: tcp connect error: Connection refused (os error 111)"),
        Diagnosis.NETWORK,
    ),
    ("a certificate that is not trusted", SENDING.format(f"error trying to connect: {AZIOT_OPENSSL}"), Diagnosis.TLS),
    (
        "a proxy that wants a login",
        SENDING.format("error trying to connect: unsuccessful tunnel (HTTP/1.1 407 Pro)"),
        Diagnosis.PROXY,
    ),
    (
        "the reason stands before the summary",
        SENDING.format("error trying to connect: dns error: failed to lookup address information: x") + "\n" + OFFLINE,
        Diagnosis.NAME,
    ),
    ("a summary without its reason", OFFLINE, Diagnosis.NETWORK),
    (
        "settings",
        "Failed to load settings: could not read config from /etc/aziot/edged/config.d/00-super.toml",
        Diagnosis.SETTINGS,
    ),
    ("a good start", "Starting Azure IoT Edge Daemon\nVersion - 1.5.44\nEdge runtime is running", None),
]
FALSE_FRIENDS = [
    ("a process of the device asks without a right", "!!! authorization error\n--> 401 {}"),
    ("a module that nobody knows", "!!! device identity not found\n--> 400 {}"),
    (
        "another way of provisioning",
        "service encountered an error\ncaused by: DPS client error\ncaused by: Unauthorized",
    ),
    (
        "edgeAgent itself asks",
        "Internal server error: Could not list identities\n\tcaused by: HTTP request failed: [401 Unauthorized]",
    ),
    ("edgeAgent itself asks, in one line", "Internal server error: Could not list identities: [401 Unauthorized] {}"),
    ("the hub is busy", ANSWERED.format("429: Too many requests")),
    ("a hub that fails", ANSWERED.format("HTTP error 500 Internal Server Error, tracking id 401404001")),
    ("a stamp", "2024-01-01T04:01:40.401404Z [INFO] - Provisioning complete, 404 of 401"),
    (
        "a socket that was gone",
        "Could not remove socket with uri: unix:///x\n\tcaused by: No such file or directory (os error 2)",
    ),
    ("one service waits for another", RESET),
    ("one service is not up yet", SENDING.format("error trying to connect: Connection refused (os error 111)")),
    (
        "a container that is not there yet",
        engine("HTTP 404 Not Found: No such container: edgeAgent", "Pulling image IMG..."),
    ),
    ("certificates are spoken of", "Certificate for edgeHub was renewed"),
]


def bare(text: str) -> str:
    """As `journalctl -o cat` has it of 1.2 and later."""
    return text


def stamped(text: str) -> str:
    """As `journalctl -o cat` has it of 1.0 and 1.1: every line is an entry."""
    return "\n".join(f"2024-05-01T10:04:01Z [WARN] - {line}" for line in text.splitlines())


def headed(text: str) -> str:
    """As the simulator has it."""
    return "\n".join(
        f"May 01 10:04:01 press-01 iotedged[1000]: 2024-05-01T10:04:01Z [ERR!] - {line}" for line in text.splitlines()
    )


def first_line_stamped(text: str) -> str:
    """An entry of several lines has one stamp."""
    return f"<4>2024-05-01T10:04:01Z [WARN] - {text}"


@pytest.mark.parametrize("form", [bare, stamped, headed, first_line_stamped])
@pytest.mark.parametrize(
    ("journal", "found"),
    [
        *(pytest.param(text, found, id=f"1.1: {id_}") for id_, text, found in CLASSIC),
        *(pytest.param(text, found, id=f"1.5: {id_}") for id_, text, found in AZIOT),
        *(pytest.param(text, None, id=f"no trouble: {id_}") for id_, text in FALSE_FRIENDS),
    ],
)
def test_each_text_means_one_trouble(form: Callable[[str], str], journal: str, found: Diagnosis | None) -> None:
    """However `journalctl` shows it."""
    assert diagnose(form(journal)) == found


WRONG_KEY = refused_by_hub(UNAUTHORIZED)
NO_NAME = no_request("failed to lookup address information: Name or service not known")
MISSING = pull("manifest unknown")


@pytest.mark.parametrize(
    ("journal", "found"),
    [
        pytest.param([WRONG_KEY, NO_NAME], Diagnosis.NAME, id="the newer of two"),
        pytest.param([NO_NAME, WRONG_KEY], Diagnosis.KEY_REFUSED, id="the same the other way round"),
        pytest.param([WRONG_KEY, "Starting Azure IoT Edge Security Daemon"], None, id="before the last start"),
        pytest.param(
            ["Starting Azure IoT Edge Daemon", NO_NAME, "Starting Azure IoT Edge Daemon", WRONG_KEY],
            Diagnosis.KEY_REFUSED,
            id="two starts",
        ),
        pytest.param([WRONG_KEY, "Checking edge runtime status"], Diagnosis.KEY_REFUSED, id="chatter after it"),
        pytest.param([WRONG_KEY, "Edge runtime is running."], None, id="it went well since"),
        pytest.param(
            [MISSING, "Edge runtime status is failed, starting module now..."], None, id="the container is there by now"
        ),
        pytest.param([WRONG_KEY, "Pulling image IMG..."], None, id="the hub accepted the key since"),
        pytest.param([OFFLINE, "Pulling image IMG..."], None, id="the network came back since"),
        pytest.param([MISSING, "Pulling image IMG..."], Diagnosis.IMAGE_MISSING, id="the next pull proves nothing yet"),
        pytest.param(
            [WRONG_KEY, "Pulling image IMG...", MISSING], Diagnosis.IMAGE_MISSING, id="the key, then the image"
        ),
        pytest.param(
            [PROVISIONING.format("ErrorCode:IotHubUnauthorizedAccess;Unauthorized"), RESET],
            Diagnosis.KEY_REFUSED,
            id="identityd's reason over edged's symptom",
        ),
        pytest.param(
            [RESET, ANSWERED.format("HTTP error 401 Unauthorized"), RESET, "!!! authorization error", "--> 401 {}"],
            Diagnosis.KEY_REFUSED,
            id="identityd's reason between two symptoms and a false friend",
        ),
        pytest.param(
            [engine("HTTP 500 Internal Server Error: no space left"), NO_PULL, NO_PULL],
            Diagnosis.IMAGE,
            id="a pull that failed for a reason of Docker's that nobody knows",
        ),
        pytest.param(
            [engine("HTTP 404 Not Found: manifest unknown"), engine("HTTP 500 x: no space left on device")],
            Diagnosis.IMAGE,
            id="the newer of two pulls, though it tells less",
        ),
    ],
)
def test_the_newest_failure_that_tells_something(journal: list[str], found: Diagnosis | None) -> None:
    """What is over does not count, and a symptom does not hide its reason."""
    assert diagnose("\n".join(journal)) == found


SIM = [
    (said.watchdog.format(why=said.identity.format(why=said.refused("401 Unauthorized", messages.UNAUTHORIZED))), Diagnosis.KEY_REFUSED)
    for said in (messages.CLASSIC, messages.AZIOT)
] + [
    (said.watchdog.format(why=said.identity.format(why=said.no_connection.format(why=said.no_name))), Diagnosis.NAME)
    for said in (messages.CLASSIC, messages.AZIOT)
] + [
    (said.no_engine.format(why=messages.NO_ENGINE), Diagnosis.ENGINE) for said in (messages.CLASSIC, messages.AZIOT)
] + [
    (said.bad_settings.format(why="x"), Diagnosis.SETTINGS) for said in (messages.CLASSIC, messages.AZIOT)
] + [
    (said.bad_start, None) for said in (messages.CLASSIC, messages.AZIOT)
]  # fmt: skip


@pytest.mark.parametrize(("journal", "found"), SIM)
def test_the_simulators_texts_mean_what_it_says(journal: str, found: Diagnosis | None) -> None:
    """They are the daemons' own."""
    assert diagnose(headed(journal)) == found


PIECES = st.sampled_from([text for _, text, _ in CLASSIC + AZIOT] + [text for _, text in FALSE_FRIENDS])


@given(st.lists(st.one_of(st.text(), PIECES, st.binary().map(lambda data: data.decode("latin-1")))))
def test_no_log_breaks_it(pieces: list[str]) -> None:
    """Whatever it holds, the answer is one of few words of our own."""
    assert diagnose("\n".join(pieces)) in {None, *Diagnosis}


@pytest.mark.parametrize(
    ("journal", "found"),
    [
        pytest.param("x\n" * 20_000 + "iothubnotfound\n", Diagnosis.HUB_NOT_FOUND, id="a long log of short lines"),
        pytest.param("iothubnotfound\n" + "x\n" * 200, None, id="what stands before the newest 200 lines"),
        pytest.param("x" * 2048 + "iothubnotfound\n", None, id="what stands at the end of a long line"),
        pytest.param(
            "failed to send http request " * 70 + "trying to connect: connection refused",
            None,
            id="many requests of one service to another",
        ),
        pytest.param(
            "trying to connect: connection refused failed to send http request",
            Diagnosis.NETWORK,
            id="the other way round",
        ),
    ],
)
def test_a_log_that_goes_on_and_on(journal: str, found: Diagnosis | None) -> None:
    """Is looked at as far as one was asked for."""
    assert diagnose(journal) == found
