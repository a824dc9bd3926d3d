"""Whether a daemon is healthy, and what is in the way if not: every reason once, with its whole message."""

import dataclasses
from typing import Any

import pytest

from edgeherd.device.facts import Facts, Module, Unit
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.reconcile.steps.health import SKEW_SECONDS, STABLE_SECONDS, check_health

NOW = 1_700_000_000
LOGS = "See 'journalctl -u iotedge' on the device."


def unit(name: str, state: str = "active/running", **more: Any) -> Unit:
    """A unit that is loaded."""
    active, _, sub = state.partition("/")
    return Unit(name=name, load_state="loaded", active_state=active, sub_state=sub, **more)


def agent(status: str = "running", up_seconds: int | None = 100) -> tuple[Module, ...]:
    """edgeAgent in the list."""  # noqa: D403 - its name
    return (Module(name="edgeAgent", status=status, up_seconds=up_seconds), Module(name="edgeHub", status="running"))


HEALTHY = Facts(
    version="1.1.15",
    path="/etc/iotedge/config.yaml",
    kind="file",
    mode="iotedge:iotedge 400",
    content=b"",
    now=NOW,
    started=NOW - 1000,
    unit=unit("iotedge.service"),
    services=(unit("docker.service"),),
    modules=agent(),
)
AZIOT = dataclasses.replace(
    HEALTHY,
    version="1.5.44",
    unit=unit("aziot-edged.service"),
    services=(
        unit("aziot-identityd.service"),
        unit("aziot-keyd.service", "inactive/dead"),
        unit("aziot-certd.service", "inactive/dead"),
        unit("docker.service"),
    ),
)
WINDOWS = dataclasses.replace(
    HEALTHY, path="C:\\ProgramData\\iotedge\\config.yaml", unit=unit("iotedge"), services=(unit("iotedge-moby"),)
)
KEY = 'Error in watchdog when checking for edge runtime status:\n\tcaused by: HTTP request failed: [401 Unauthorized] {"hush"}'
NO_ENGINE = "The daemon could not start up successfully: Could not initialize module runtime"


def but(facts: Facts = HEALTHY, **changes: Any) -> Facts:
    """The same device, but for this."""
    return dataclasses.replace(facts, **changes)


def without_agent(journal: str = "", facts: Facts = HEALTHY, **changes: Any) -> Facts:
    """edgeAgent is not in the list."""  # noqa: D403 - its name
    return but(facts, **{"modules": (), "journal": journal, **changes})


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(HEALTHY, id="1.1"),
        pytest.param(AZIOT, id="1.5: what is inactive is started on demand"),
        pytest.param(WINDOWS, id="Windows"),
        pytest.param(but(services=()), id="no unit of an engine is known"),
        pytest.param(but(services=(Unit(name="docker.service", load_state="not-found", active_state="inactive"),)), id="podman, or Docker as a snap"),
        pytest.param(but(services=(unit("docker.service", "inactive/dead"),)), id="docker.service is there and not in use"),
        pytest.param(but(services=(unit("docker.service", "failed/failed"),)), id="docker.service failed and is not in use"),
        pytest.param(but(services=(Unit(name="docker.service", load_state="masked", active_state="failed"),)), id="docker.service is masked"),
        pytest.param(but(WINDOWS, services=(unit("com.docker.service"),)), id="Windows with Linux containers"),
        pytest.param(but(now=None, started=None), id="a device that does not tell the time"),
        pytest.param(but(now=NOW + 86400, started=NOW + 85000), id="a clock that is wrong, and nobody minds"),
        pytest.param(but(started=NOW - 29, unit=unit("iotedge.service")), id="just started, by somebody"),
        pytest.param(but(started=NOW - 30, unit=unit("iotedge.service", restarts=7)), id="systemd's tries are long ago"),
        pytest.param(but(started=NOW + 50000, unit=unit("iotedge.service", restarts=7)), id="a container whose uptime is not its host's"),
        pytest.param(but(modules=agent(up_seconds=None)), id="it is not known how long edgeAgent runs"),
        pytest.param(but(modules=agent(up_seconds=1180)), id="edgeAgent looks older than the daemon, by rounding"),
        pytest.param(but(journal=KEY), id="an old complaint"),
    ],
)  # fmt: skip
def test_healthy(facts: Facts) -> None:
    """Nothing is in the way."""
    check_health(facts, enabled=True, now=NOW)


def waiting(reason: str, message: str, retry_after: float) -> Waiting:
    """What passes by itself, or with somebody's help."""
    return Waiting(reason, message, retry_after=retry_after)


REFUSED = waiting(
    "HubRefusesKey",
    (
        "The hub refuses the device's key. It is the one that the hub shows to the operator, so it was changed just now, or "
        f"somebody else uses another hub under this name. {LOGS}"
    ),
    10,
)
ENGINE_DOWN = waiting(
    "ContainerEngineDown",
    f"The daemon cannot talk to the container engine. Check the engine's service on the device. {LOGS}",
    10,
)


def skewed(amount: str, direction: str) -> Waiting:
    """The clock is to blame."""
    message = (
        f"The device's clock is {amount} {direction}, so tokens or certificates are taken for expired or not yet "
        "valid. Set it; look at NTP."
    )
    return waiting("ClockSkewed", message, 30)


CASES = {
    "no unit": (
        but(unit=Unit(name="iotedge.service", load_state="not-found", active_state="inactive", sub_state="dead")),
        Stalled("DaemonMissing", "The device has no unit 'iotedge'. Reinstall the runtime."),
    ),
    "the engine does not run": (
        without_agent(services=(unit("docker.service", "inactive/dead"),)),
        waiting(
            "ContainerEngineDown",
            "The container engine ('docker.service') is inactive. Start it; see its own log for the reason.",
            30,
        ),
    ),
    "the engine failed, and the daemon with it": (
        without_agent(
            NO_ENGINE,
            unit=unit("iotedge.service", "failed/failed", exec_main_status=1),
            services=(unit("docker.service", "failed/failed"),),
        ),
        waiting(
            "ContainerEngineDown",
            "The container engine ('docker.service') is failed. Start it; see its own log for the reason.",
            30,
        ),
    ),
    "the engine runs, and the daemon cannot talk to it": (
        without_agent(NO_ENGINE, unit=unit("iotedge.service", "activating/auto-restart", exec_main_status=1)),
        ENGINE_DOWN,
    ),
    "a unit of an engine that is not in use hides nothing": (
        without_agent(KEY, services=(unit("docker.service", "inactive/dead"),)),
        REFUSED,
    ),
    "settings": (
        but(unit=unit("iotedge.service", "failed/failed", exec_main_status=153), modules=()),
        waiting(
            "DaemonRefusesConfig",
            "The daemon cannot load its settings (exit 153). Run 'iotedge check' on the device.",
            10,
        ),
    ),
    "settings, as 1.0.8 and Windows end": (
        without_agent(
            "The daemon could not start up successfully: Could not load settings",
            unit=unit("iotedge.service", "failed/failed", exec_main_status=1),
        ),
        waiting("DaemonRefusesConfig", f"The daemon cannot load its settings. {LOGS}", 10),
    ),
    "a crash that nobody explains": (
        but(unit=unit("iotedge.service", "activating/auto-restart", exec_main_status=101), modules=()),
        waiting("DaemonCrashing", f"The daemon ends again and again (exit 101). {LOGS}", 10),
    ),
    "a failure that nobody explains": (
        but(unit=unit("iotedge.service", "failed/failed", exec_main_status=1), modules=()),
        waiting("DaemonNotRunning", f"The daemon is failed/failed (exit 1). {LOGS}", 5),
    ),
    "it was stopped": (
        but(unit=unit("iotedge.service", "inactive/dead"), modules=()),
        waiting("DaemonNotRunning", f"The daemon is inactive/dead (exit 0). {LOGS}", 5),
    ),
    "nobody tells its state": (
        but(unit=Unit()),
        waiting("DaemonNotRunning", f"The daemon is unknown/unknown (exit 0). {LOGS}", 5),
    ),
    "systemd had to help just now": (
        but(started=NOW - STABLE_SECONDS + 1, unit=unit("iotedge.service", restarts=1)),
        waiting("DaemonUnstable", f"systemd had to start the daemon again; it is believed after 30 s. {LOGS}", 10),
    ),
    "a wrong key": (without_agent(KEY), REFUSED),
    "a wrong key, and a container that ended": (without_agent(KEY, modules=agent("stopped")), REFUSED),
    "a wrong key, and a clock that is not quite right": (without_agent(KEY, now=NOW - SKEW_SECONDS), REFUSED),
    "a wrong key, and a clock that is not told": (without_agent(KEY, now=None), REFUSED),
    "a clock behind": (without_agent(KEY, now=NOW - SKEW_SECONDS - 1, started=NOW - 900), skewed("minutes", "behind")),
    "a clock ahead": (without_agent(KEY, now=NOW + 86400), skewed("hours", "ahead")),
    "a clock of 1970, and a certificate that is not yet valid": (
        without_agent("\tcaused by: error trying to connect: error:1416F086:SSL routines", now=100, started=10),
        skewed("days", "behind"),
    ),
    "a hub that nobody has": (
        without_agent("!!! caused by: ErrorCode:IotHubNotFound;Unauthorized"),
        waiting(
            "HubUnknownToDevice",
            f"The device reached Azure, but no hub of that name is there. Compare the HubConnection's hostName. {LOGS}",
            10,
        ),
    ),
    "no edge device": (
        without_agent("Edge runtime module has not been created in IoT Hub."),
        waiting(
            "DeviceNotRegistered",
            f"The hub does not know the device, or not as an edge device. It is put right at the next pass. {LOGS}",
            10,
        ),
    ),
    "a proxy that refuses": (
        without_agent("error trying to connect: unsuccessful tunnel"),
        waiting(
            "ProxyRefused",
            f"The proxy does not let the device through. Check spec.runtime.proxy and the login in its Secret. {LOGS}",
            10,
        ),
    ),
    "no name service": (
        without_agent("error trying to connect: failed to lookup address information: Name or service not known"),
        waiting(
            "HubNameNotResolved",
            f"The device cannot look up the hub's name (or the proxy's). Check its DNS. {LOGS}",
            10,
        ),
    ),
    "a certificate that is not trusted": (
        without_agent("error trying to connect: error:1416F086:SSL routines"),
        waiting(
            "HubNotTrusted",
            (
                "The device does not trust the certificate that it was shown for the hub. Check its CA certificates, its "
                f"clock, and whether something inspects its traffic. {LOGS}"
            ),
            10,
        ),
    ),
    "no network": (
        without_agent("error trying to connect: Connection timed out (os error 110)"),
        waiting(
            "HubUnreachableFromDevice",
            (
                "The device cannot reach the hub (ports 443, 5671 or 8883). Check its network, or set spec.runtime.proxy. "
                f"{LOGS}"
            ),
            10,
        ),
    ),
    "no such image": (
        without_agent("Could not pull image X\n\tcaused by: manifest unknown"),
        waiting(
            "ImagePullFailed",
            (f"The registry has no such edgeAgent image for this machine. Check spec.runtime.agent.image. {LOGS}"),
            10,
        ),
    ),
    "an image behind a login": (
        without_agent("Could not pull image X\n\tcaused by: unauthorized: incorrect username or password"),
        waiting(
            "ImagePullFailed",
            (
                "The registry refuses the pull of edgeAgent's image. Check spec.runtime.agent.registryAuthSecretRef. "
                f"{LOGS}"
            ),
            10,
        ),
    ),
    "no registry": (
        without_agent("Could not pull image X\n\tcaused by: dial tcp: lookup x"),
        waiting(
            "ImagePullFailed",
            (
                "The container engine cannot reach the registry of edgeAgent's image. Check the device's network; behind a "
                f"proxy the engine needs it too. {LOGS}"
            ),
            10,
        ),
    ),
    "a pull that failed somehow": (
        without_agent("Could not pull image X\n\tcaused by: no space left on device"),
        waiting("ImagePullFailed", f"edgeAgent's image cannot be pulled. {LOGS}", 10),
    ),
    "the log knows better than a service that failed": (
        without_agent(
            "!!! caused by: HTTP error 401 Unauthorized",
            AZIOT,
            services=(unit("aziot-keyd.service", "failed/failed"), unit("docker.service")),
        ),
        Waiting("HubRefusesKey", REFUSED.message.replace("-u iotedge", "-u aziot-edged"), retry_after=10),
    ),
    "a service that failed": (
        without_agent(facts=AZIOT, services=(unit("aziot-keyd.service", "failed/failed", exec_main_status=1),)),
        waiting(
            "DaemonServiceFailed",
            "The service 'aziot-keyd' has failed (exit 1). See 'journalctl -u aziot-keyd' on the device.",
            10,
        ),
    ),
    "a service that failed while edgeAgent runs": (
        but(AZIOT, services=(unit("aziot-identityd.service", "failed/failed", exec_main_status=1),)),
        waiting(
            "DaemonServiceFailed",
            "The service 'aziot-identityd' has failed (exit 1). See 'journalctl -u aziot-identityd' on the device.",
            10,
        ),
    ),
    "edgeAgent ended": (
        without_agent(modules=agent("failed")),
        waiting("EdgeAgentNotRunning", "edgeAgent is 'failed'. See 'iotedge logs edgeAgent' on the device.", 5),
    ),
    "edgeAgent ended, and its engine is called otherwise": (
        without_agent(modules=agent("stopped"), services=(unit("docker.service", "inactive/dead"),)),
        waiting("EdgeAgentNotRunning", "edgeAgent is 'stopped'. See 'iotedge logs edgeAgent' on the device.", 5),
    ),
    "edgeAgent does not come": (
        without_agent("Checking edge runtime status"),
        waiting(
            "EdgeAgentMissing",
            f"The daemon runs, but edgeAgent has not appeared, and its log does not say why. {LOGS}",
            3,
        ),
    ),
    "edgeAgent does not come on Windows": (
        without_agent(facts=WINDOWS),
        waiting(
            "EdgeAgentMissing",
            "The daemon runs, but edgeAgent has not appeared, and its log does not say why. See 'Get-IoTEdgeLog' on the device.",
            3,
        ),
    ),
    "edgeAgent is older than the daemon": (
        but(modules=agent(up_seconds=1181)),
        waiting(
            "EdgeAgentStale",
            "edgeAgent is older than the daemon's start, so it says nothing about the present configuration.",
            5,
        ),
    ),
}


def outcome(facts: Facts, *, enabled: bool = True) -> ReconcileError | None:
    """What stops the pass."""
    try:
        check_health(facts, enabled=enabled, now=NOW)
    except ReconcileError as exc:
        return exc
    return None


def parts(error: ReconcileError | None) -> tuple[object, ...]:
    """All that there is to an error."""
    return (
        type(error),
        getattr(error, "reason", ""),
        getattr(error, "message", ""),
        getattr(error, "retry_after", None),
    )


@pytest.mark.parametrize(("facts", "expected"), CASES.values(), ids=CASES.keys())
def test_every_reason(facts: Facts, expected: ReconcileError) -> None:
    """With the whole message: it says what is wrong and what to do."""
    assert parts(outcome(facts)) == parts(expected)
    assert "hush" not in expected.message


DISABLED = Stalled(
    "IdentityDisabled",
    "The identity is disabled in the hub (spec.identity.status), so the device cannot connect. Enable it when it may.",
)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param(HEALTHY, "IdentityDisabled", id="edgeAgent of before still runs"),
        pytest.param(without_agent(KEY), "IdentityDisabled", id="the hub refuses it, as it was told to"),
        pytest.param(CASES["settings"][0], "DaemonRefusesConfig", id="a daemon that does not run comes first"),
        pytest.param(CASES["the engine does not run"][0], "ContainerEngineDown", id="so does an engine that does not"),
        pytest.param(CASES["no unit"][0], "DaemonMissing", id="and a daemon that is not there"),
    ],
)
def test_a_disabled_identity(facts: Facts, reason: str) -> None:
    """It is the reason for whatever the hub refuses, and for nothing else."""
    found = outcome(facts, enabled=False)
    assert found is not None
    assert found.reason == reason
    assert reason != "IdentityDisabled" or parts(found) == parts(DISABLED)


def test_messages_stay_the_same_while_the_trouble_does() -> None:
    """A clock that is off by another second writes no other status."""
    said = {parts(outcome(without_agent(KEY, now=NOW - 270 + jitter))) for jitter in range(-5, 6)}
    assert said == {parts(skewed("minutes", "behind"))}
