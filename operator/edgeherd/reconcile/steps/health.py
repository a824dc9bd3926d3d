"""The daemon's health: whether it runs and edgeAgent with it, and what is in the way if not."""

import dataclasses

from edgeherd.config import Dialect
from edgeherd.device.facts import Facts, Module, Unit
from edgeherd.device.journal import Diagnosis, diagnose
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.reconcile import device_facts, requeue
from edgeherd.reconcile.step import Context, Done, Step

BAD_SETTINGS = 153
"""The daemon's exit status for settings that it cannot load (iotedged/src/error.rs, 1.0.10 and later)."""

STABLE_SECONDS = 30
"""A daemon that systemd had to start again is believed after so long."""

SKEW_SECONDS = 240
"""From here on a clock is called wrong: the hub refuses a token that it thinks is expired."""

_STALE_SECONDS = 180
"""`iotedge list` rounds; edgeAgent is called older than the daemon only beyond that."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DaemonNames:
    """How the messages name the daemon."""

    unit: str
    logs: str


class HealthStep(Step):
    """Sees whether all of it works. It changes nothing."""

    condition = "DaemonHealthy"

    async def reconcile(self, context: Context) -> Done:
        """The daemon is active and edgeAgent runs."""
        before = context.device.status.condition(self.condition)
        is_coming = before is not None and before.status == "False"
        waited = self.dependencies.clock.seconds_since(before.last_transition_time) if before and is_coming else 0.0
        try:
            await self._require_health(context)
        except Waiting as exc:
            raise requeue.with_patience(exc, waited) from exc
        return Done("Running", "The daemon is active and edgeAgent is running.")

    async def _require_health(self, context: Context) -> None:
        result = context.result
        if result.restarted:
            raise Waiting("DaemonRestarted", "The daemon was restarted. It is looked at again.")
        check_health(result.facts, enabled=context.device.enabled, now=self.dependencies.clock.wall())
        await self._require_connection(context)

    async def _require_connection(self, context: Context) -> None:
        """From 1.2 on containers outlive another key, so an edgeAgent that runs does not prove that the hub takes it.

        The hub is asked once for a content of the file, where its credential allows it.
        """
        result, device = context.result, context.device
        before = device.status.condition(self.condition)
        known = device.status.device.config_hash == result.config_hash
        proved = known and before is not None and before.status == "True"
        if result.version.dialect is not Dialect.TOML or proved:
            return
        if await context.hub.hub.agent_connected(device.device_id) is not False:
            return
        message = (
            "edgeAgent runs, but the hub has not seen it connected since the change. See 'iotedge logs edgeAgent' and "
            "'iotedge check' on the device. Where host name, image or environment (such as a proxy) were changed: "
            f"{device_facts.REMADE}."
        )
        raise Waiting("EdgeAgentNotConnected", message)


def check_health(facts: Facts, *, enabled: bool, now: float) -> None:
    """Whether the daemon is healthy: its unit is active and stable, and edgeAgent runs since the daemon's start.

    Args:
        facts: what was observed.
        enabled: whether the hub lets the device connect.
        now: seconds since 1970, by our clock.

    Raises:
        Waiting: not yet.
        Stalled: only a human can fix it.
    """
    names = _names(facts)
    if facts.unit.load_state == "not-found":
        raise Stalled("DaemonMissing", f"The device has no unit '{names.unit}'. Reinstall the runtime.")
    agent, found = _agent(facts), diagnose(facts.journal)
    # An engine that starts edgeAgent is there, whatever its unit is called; so is one that is not complained of.
    if agent is None and found in {None, Diagnosis.ENGINE}:
        _require_engine(facts)
    _check_unit(facts, found, names)
    if not enabled:
        message = "The identity is disabled in the hub (spec.identity.status), so the device cannot connect. Enable it when it may."
        raise Stalled("IdentityDisabled", message)
    if agent is None or agent.status != "running":
        raise _no_agent(facts, agent, found, names, now)
    _require_fresh(facts, agent)
    _require_services(facts, names)


def _names(facts: Facts) -> DaemonNames:
    name = facts.unit.name or "iotedge.service"
    unit = name.removesuffix(".service")
    # Windows' services have plain names.
    return DaemonNames(
        unit=unit, logs=f"'journalctl -u {unit}' on the device" if unit != name else "'Get-IoTEdgeLog' on the device"
    )


def _agent(facts: Facts) -> Module | None:
    return next((module for module in facts.modules if module.name == "edgeAgent"), None)


def _require_engine(facts: Facts) -> None:
    engine = facts.engine
    if engine is not None and engine.active_state not in {"active", "activating", "reloading"}:
        message = f"The container engine ('{engine.name}') is {engine.active_state or 'unknown'}. Start it; see its own log for the reason."
        raise Waiting("ContainerEngineDown", message, retry_after=30)


def _check_unit(facts: Facts, found: Diagnosis | None, names: DaemonNames) -> None:
    unit: Unit = facts.unit
    if unit.active_state == "failed" and unit.exec_main_status == BAD_SETTINGS:
        message = f"The daemon cannot load its settings (exit {BAD_SETTINGS}). Run 'iotedge check' on the device."
        raise Waiting("DaemonRefusesConfig", message, retry_after=10)
    ends = unit.active_state == "activating" and unit.sub_state == "auto-restart"
    if found is not None and (ends or unit.active_state == "failed"):
        raise _because(found, names)
    if ends:
        message = f"The daemon ends again and again (exit {unit.exec_main_status}). See {names.logs}."
        raise Waiting("DaemonCrashing", message, retry_after=10)
    if unit.active_state != "active" or unit.sub_state != "running":
        state = f"{unit.active_state or 'unknown'}/{unit.sub_state or 'unknown'}"
        message = f"The daemon is {state} (exit {unit.exec_main_status}). See {names.logs}."
        raise Waiting("DaemonNotRunning", message, retry_after=5)
    age = _age(facts)
    if unit.restarts and age is not None and age < STABLE_SECONDS:
        message = f"systemd had to start the daemon again; it is believed after {STABLE_SECONDS} s. See {names.logs}."
        raise Waiting("DaemonUnstable", message, retry_after=STABLE_SECONDS / 3)


def _age(facts: Facts) -> int | None:
    """Seconds since the daemon's start; None where the device's clocks contradict each other (as in some containers)."""
    if facts.now is None or facts.started is None or facts.started > facts.now:
        return None
    return facts.now - facts.started


def _no_agent(
    facts: Facts, agent: Module | None, found: Diagnosis | None, names: DaemonNames, now: float
) -> ReconcileError:
    skew = 0 if facts.now is None else round(facts.now - now)
    if found in {Diagnosis.KEY_REFUSED, Diagnosis.TLS} and abs(skew) > SKEW_SECONDS:
        direction = "ahead" if skew > 0 else "behind"
        # No number: it would be another one at each look.
        amount = "days" if abs(skew) > 172800 else "hours" if abs(skew) > 7200 else "minutes"
        message = (
            f"The device's clock is {amount} {direction}, so tokens or certificates are taken for expired or not yet "
            "valid. Set it; look at NTP."
        )
        return Waiting("ClockSkewed", message, retry_after=30)
    if found is not None:
        return _because(found, names)
    _require_services(facts, names)
    if agent is not None:
        message = f"edgeAgent is '{agent.status}'. See 'iotedge logs edgeAgent' on the device."
        return Waiting("EdgeAgentNotRunning", message, retry_after=5)
    message = f"The daemon runs, but edgeAgent has not appeared, and its log does not say why. See {names.logs}."
    return Waiting("EdgeAgentMissing", message, retry_after=3)


def _require_services(facts: Facts, names: DaemonNames) -> None:
    """Modules that run lose their tokens and certificates without the other services. An inactive one is started on demand."""
    for service in facts.services:
        if service is not facts.engine and service.active_state == "failed" and service.load_state == "loaded":
            name = service.name.removesuffix(".service")
            message = f"The service '{name}' has failed (exit {service.exec_main_status}). See {names.logs.replace(names.unit, name)}."
            raise Waiting("DaemonServiceFailed", message, retry_after=10)


def _require_fresh(facts: Facts, agent: Module) -> None:
    """Every start of the daemon stops all modules: an edgeAgent that is older was seen by somebody else."""
    age = _age(facts)
    if age is not None and agent.up_seconds is not None and agent.up_seconds > age + _STALE_SECONDS:
        message = "edgeAgent is older than the daemon's start, so it says nothing about the present configuration."
        raise Waiting("EdgeAgentStale", message, retry_after=5)


def _because(found: Diagnosis, names: DaemonNames) -> ReconcileError:
    """The next step for a human. The daemon tries again by itself, so all of it may pass."""
    reason, message = _NEXT_STEPS[found]
    return Waiting(reason, f"{message} See {names.logs}.", retry_after=10)


_NEXT_STEPS = {
    Diagnosis.HUB_NOT_FOUND: (
        "HubUnknownToDevice",
        "The device reached Azure, but no hub of that name is there. Compare the HubConnection's hostName.",
    ),
    Diagnosis.KEY_REFUSED: (
        "HubRefusesKey",
        (
            "The hub refuses the device's key. It is the one that the hub shows to the operator, so it was changed just now, or "
            "somebody else uses another hub under this name."
        ),
    ),
    Diagnosis.NOT_REGISTERED: (
        "DeviceNotRegistered",
        "The hub does not know the device, or not as an edge device. It is put right at the next pass.",
    ),
    Diagnosis.PROXY: (
        "ProxyRefused",
        "The proxy does not let the device through. Check spec.runtime.proxy and the login in its Secret.",
    ),
    Diagnosis.NAME: (
        "HubNameNotResolved",
        "The device cannot look up the hub's name (or the proxy's). Check its DNS.",
    ),
    Diagnosis.TLS: (
        "HubNotTrusted",
        (
            "The device does not trust the certificate that it was shown for the hub. Check its CA certificates, its clock, and "
            "whether something inspects its traffic."
        ),
    ),
    Diagnosis.NETWORK: (
        "HubUnreachableFromDevice",
        "The device cannot reach the hub (ports 443, 5671 or 8883). Check its network, or set spec.runtime.proxy.",
    ),
    Diagnosis.IMAGE_MISSING: (
        "ImagePullFailed",
        "The registry has no such edgeAgent image for this machine. Check spec.runtime.agent.image.",
    ),
    Diagnosis.IMAGE_REFUSED: (
        "ImagePullFailed",
        "The registry refuses the pull of edgeAgent's image. Check spec.runtime.agent.registryAuthSecretRef.",
    ),
    Diagnosis.REGISTRY_UNREACHABLE: (
        "ImagePullFailed",
        (
            "The container engine cannot reach the registry of edgeAgent's image. Check the device's network; behind a proxy the "
            "engine needs it too."
        ),
    ),
    Diagnosis.IMAGE: ("ImagePullFailed", "edgeAgent's image cannot be pulled."),
    Diagnosis.ENGINE: (
        "ContainerEngineDown",
        "The daemon cannot talk to the container engine. Check the engine's service on the device.",
    ),
    Diagnosis.SETTINGS: ("DaemonRefusesConfig", "The daemon cannot load its settings."),
}
