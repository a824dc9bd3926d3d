"""Makes a device look as the spec says.

One look, at most one transaction with one restart. What it leads to is seen by the next pass: only an observation says
True. The device itself undoes what its daemon refuses, so a connection that breaks leaves nothing half done.
"""

import collections
import dataclasses
from collections.abc import Awaitable, Callable

from edgeherd import config
from edgeherd.clock import Clock
from edgeherd.device.facts import Facts
from edgeherd.device.port import ABSENT, Action, Change, Initialization, OtherFile, Query, Result, Session
from edgeherd.errors import Stalled, Waiting
from edgeherd.model import EdgeDevice, Key, PlannedChange
from edgeherd.reconcile import desired, device_facts, errors, refusal
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.reconcile.desired import DesiredState
from edgeherd.reconcile.step import ConfigurationResult, Event
from edgeherd.worker import WorkerError

RequireFree = Callable[[str], Awaitable[None]]
"""Raises Stalled where a device id belongs to somebody who looks after the same machine."""

REVIVAL_SECONDS = 300.0
"""A daemon that gave up is started again so often, unless somebody asks for it: what it missed may be fixed by now."""

UNJUDGED_SECONDS = 300.0
"""Until a file that a worker was killed over is looked at again: it may have been the machine, and costs a worker's time."""

CONTESTED_TIMES = 3
CONTESTED_SECONDS = 1800.0
"""Somebody who undoes our work so often within this time does it on purpose; every round stops the device's modules."""


class RejectedError(Stalled):
    """The daemon refuses what the spec leads to; `content_hash` is of the file that it refused."""

    def __init__(self, message: str, content_hash: str) -> None:
        super().__init__("ConfigRejected", message)
        self.content_hash = content_hash


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Observation:
    """One device as it was found, and what follows from it."""

    state: DesiredState
    facts: Facts
    version: config.Version
    edit: config.Edit
    others: tuple[OtherFile, ...]

    @property
    def device(self) -> EdgeDevice:
        return self.state.device

    @property
    def action(self) -> Action:
        """What makes the daemon read its file."""
        return Action.CONFIG_APPLY if self.version.dialect is config.Dialect.TOML else Action.RESTART

    def change(self, *, content: bytes | None, others: tuple[OtherFile, ...] = ()) -> Change:
        return Change(
            path=self.facts.path,
            before=self.facts.sha256,
            content=content,
            others=others,
            unit=desired.daemon_unit(self.device, self.version.dialect),
            action=self.action,
            started=self.facts.unit.started if content is None and not others else "",
        )

    def applied(self, *events: Event, restarted: bool = False) -> ConfigurationResult:
        return ConfigurationResult(
            facts=self.facts,
            version=self.version,
            config_hash=device_facts.fingerprint(self.facts),
            restarted=restarted,
            events=events,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Revival:
    """A start of a daemon whose files were right."""

    at: float
    request: str
    """The `requestedAt` of then."""
    healthy_since: str
    """When the status that was known then had called it healthy; empty where it had not."""


class Configurator:
    """Makes the device look as the spec says. What it remembers only saves restarts; it may be forgotten."""

    def __init__(self, clock: Clock, editor: ConfigEditor) -> None:
        self._clock = clock
        self._editor = editor
        self._revived: dict[Key, _Revival] = {}
        self._rejected: dict[Key, tuple[str, str]] = {}
        """Which change the daemon of which object (uid) refused: a status that cannot be written must not cost restarts."""
        self._corrected: dict[Key, collections.deque[float]] = {}

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._revived.pop(key, None)
        self._corrected.pop(key, None)
        self._rejected.pop(key, None)

    def healthy(self, key: Key, *, since: str) -> None:
        """The daemon was seen healthy since then: should it fail again, it may be started again.

        What the status said before the last start says nothing: it may be that it cannot be written.
        """
        revival = self._revived.get(key)
        if revival is not None and revival.healthy_since != since:
            del self._revived[key]

    async def apply(
        self, session: Session, state: DesiredState, *, applied_before: bool, require_free: RequireFree
    ) -> ConfigurationResult:
        """Look at the device; write and restart once if the meaning of something must change.

        `require_free` is asked before a device that is set up as another device id is changed.

        Raises:
            Waiting: something changed meanwhile, or no runtime is installed yet.
            Stalled: the file, the runtime or another writer needs a human.
        """
        device = state.device
        if state.certificate is not None and device.runtime.on_windows:
            message = (
                "A certificate from a Secret is not placed on Windows devices. Put it there, and give its thumbprint and "
                "paths in spec.identity.x509."
            )
            raise Stalled("CertificateNotPlaced", message)
        query = desired.query(device)
        facts = await session.observe(query)
        device_facts.require_tools(device, facts)
        version = device_facts.version(device, facts)
        only_reports = applied_before and not device.correct_drift
        if facts.kind == "absent" and device.runtime.on_windows:
            return await self._initialize(session, state, facts, version, only_reports=only_reports)
        observation = await _observed(self._editor, state, facts, version, query)
        if not observation.edit.changes and not observation.others:
            self._rejected.pop(device.key, None)
            return await self._awake(session, observation, only_reports=only_reports)
        plan = _plan(observation)
        if only_reports:
            return dataclasses.replace(observation.applied(), plan=plan)
        _require_free_hostname(observation)
        found = await self._editor.provisioned_as(facts.content or b"", version=version)
        if found and found != device.device_id:
            await require_free(found)
        is_drift = applied_before and not _spec_changed(device)
        await self._carry_out(session, observation, is_drift=is_drift)
        reason = "ConfigDriftCorrected" if is_drift else "ConfigApplied"
        what = ", ".join(change.path.removeprefix("device:") for change in plan)
        kept = ""
        if found == device.device_id:
            kept = device_facts.kept_by_agent(version, facts, [change.path for change in observation.edit.changes])
        message = f"{facts.path} was changed ({what}) and the daemon restarted.{kept}"
        return observation.applied(Event(reason, message), restarted=True)

    async def _awake(self, session: Session, observation: _Observation, *, only_reports: bool) -> ConfigurationResult:
        """All files are right: is it what the daemon runs with? It is not restarted again and again for it."""
        device, facts = observation.device, observation.facts
        last = self._revived.get(device.key)
        asked = device.requested_at not in {device.status.last_handled_reconcile_at, last.request if last else ""}
        too_soon = last is not None and self._clock.monotonic() - last.at < REVIVAL_SECONDS and not asked
        if only_reports and not facts.taken:
            change = PlannedChange(path="device:iotedge config apply", action="Change", restart="Daemon")
            return dataclasses.replace(observation.applied(), plan=(change,))
        if only_reports or too_soon:
            return observation.applied()
        if not facts.taken:
            event = Event(
                "ConfigApplied", f"{facts.path} was right, but 'iotedge config apply' had not been run; it was."
            )
        elif facts.unit.active_state == "failed":
            text = "The daemon had failed while its file is right; it was started again."
            event = Event("DaemonRestarted", text, warning=True)
        elif device_facts.is_outdated(device, facts):
            text = f"{facts.path} is newer than the daemon's start; it was restarted."
            event = Event("DaemonRestarted", text, warning=True)
        else:
            return observation.applied()
        said = device.status.condition("DaemonHealthy")
        self._revived[device.key] = _Revival(
            at=self._clock.monotonic(),
            request=device.requested_at,
            healthy_since=said.last_transition_time if said and said.status == "True" else "",
        )
        result = await session.apply(observation.change(content=None))
        if result is Result.CHANGED:  # somebody else has started it, or is at it: nothing was done
            self._revived.pop(device.key)
        if result is Result.REFUSED:
            message = await refusal.told(self._editor, facts, observation.version, changed=False)
            raise RejectedError(message, config.fingerprint(observation.edit.content))
        _require(result, observation)
        return observation.applied(event, restarted=True)

    async def _carry_out(self, session: Session, observation: _Observation, *, is_drift: bool) -> None:
        device = observation.device
        content = observation.edit.content if observation.edit.changes else None
        content_hash = config.fingerprint(observation.edit.content)
        change = observation.change(content=content, others=observation.others)
        refused = (device.uid, _fingerprint(change))
        known = content is not None and device.status.device.rejected_hash == f"sha256:{content_hash}"
        if known or self._rejected.get(device.key) == refused:
            before = device.status.condition("ConfigApplied")
            told = before is not None and before.reason == "ConfigRejected"
            message = (
                before.message if before is not None and told else errors.REFUSED.format(path=observation.facts.path)
            )
            raise RejectedError(message, content_hash)
        if is_drift:
            self._require_peace(device, observation.facts.path)
        result = await session.apply(change)
        if result is Result.REFUSED:
            self._rejected[device.key] = refused
            changed = content is not None
            message = await refusal.told(self._editor, observation.facts, observation.version, changed=changed)
            raise RejectedError(message, content_hash)
        _require(result, observation)
        self._rejected.pop(device.key, None)
        if is_drift:
            self._corrected.setdefault(device.key, collections.deque(maxlen=CONTESTED_TIMES)).append(
                self._clock.monotonic()
            )

    def _require_peace(self, device: EdgeDevice, path: str) -> None:
        times = self._corrected.get(device.key) or collections.deque[float]()
        if len(times) == CONTESTED_TIMES and self._clock.monotonic() - times[0] < CONTESTED_SECONDS:
            message = (
                f"{path} was put right {CONTESTED_TIMES} times within {CONTESTED_SECONDS / 60:.0f} minutes and somebody "
                "keeps changing it: a person, a script or another operator. Every round stops the device's modules, so "
                "it is left alone for now. Find the other writer, or set spec.driftPolicy to 'Report'."
            )
            raise Stalled("ConfigContested", message)

    async def _initialize(
        self, session: Session, state: DesiredState, facts: Facts, version: config.Version, *, only_reports: bool
    ) -> ConfigurationResult:
        """A Windows device whose runtime was installed and never initialised. It can be done once only."""
        if only_reports:
            change = PlannedChange(path=f"device:{facts.path}", action="Add", restart="Daemon")
            return ConfigurationResult(facts=facts, version=version, config_hash="", plan=(change,))
        runtime = state.device.runtime
        if state.device.x509 is not None:
            message = "The device was never initialised. Run 'Initialize-IoTEdge -ManualX509' on it; from then on it is kept right."
            raise Stalled("InitializationFailed", message)
        result = await session.initialize(
            Initialization(
                connection_string=state.connection_string,
                container_os=runtime.container_os,
                script=runtime.initialize_script or "",
            )
        )
        if result is Result.CHANGED:
            raise Waiting(
                "ConfigChanging", "The device was initialised meanwhile. It is looked at again.", retry_after=2
            )
        if result is not Result.APPLIED:
            message = (
                "'Initialize-IoTEdge' failed on the device. Run it there by hand to see why; the IoTEdge module or "
                "spec.runtime.windows.securityDaemonScriptPath must be there."
            )
            raise Stalled("InitializationFailed", message)
        event = Event("DeviceInitialized", "The runtime was initialised with 'Initialize-IoTEdge'.")
        return ConfigurationResult(
            facts=facts, version=version, config_hash=device_facts.fingerprint(facts), restarted=True, events=(event,)
        )


async def _observed(
    editor: ConfigEditor, state: DesiredState, facts: Facts, version: config.Version, query: Query
) -> _Observation:
    found = query.found(facts)
    odd = [path for path, found_hash in found.items() if found_hash == "other"]
    if odd:
        message = f"{odd[0]} is not a regular file. It is left alone; remove it."
        raise Stalled("ConfigUnreadable", message)
    was_ours = desired.proxy_was_ours(found)
    try:
        want = desired.configuration(state, version.dialect, proxy_was_ours=was_ours)
        edit = await editor.edit(device_facts.content(facts, version), want, version=version)
    except config.UneditableError as exc:
        raise Stalled("ConfigNotEditable", f"{facts.path} was left as it is: {exc}") from None
    except WorkerError as exc:
        message = (
            f"{facts.path} could not be judged, and was left as it is: {exc}. If this stays so, make the file simpler."
        )
        raise Waiting("ConfigNotEditable", message, retry_after=UNJUDGED_SECONDS) from None
    others = desired.other_files(state, version.dialect, found)
    return _Observation(state=state, facts=facts, version=version, edit=edit, others=others)


def _plan(observation: _Observation) -> tuple[PlannedChange, ...]:
    """Everything that differs. A change beside the daemon's file needs its restart too."""
    restart = "Daemon" if observation.edit.restarts or observation.others else "None"
    changes = [
        PlannedChange(
            path=f"device:{c.path}", action=c.action, restart=restart, before=c.before[:256], after=c.after[:256]
        )
        for c in observation.edit.changes
    ]
    for other in observation.others:
        action = "Remove" if other.content is None else "Add" if other.before == ABSENT else "Change"
        changes.append(PlannedChange(path=f"device:{other.path}", action=action, restart="Daemon"))
    return tuple(changes)


def _fingerprint(change: Change) -> str:
    """Of all that a change writes; what it writes may be secret."""
    written = [("", change.content), *((other.path, other.content) for other in change.others)]
    return config.fingerprint(
        b"\n".join(f"{path} {config.fingerprint(content or b'')}".encode() for path, content in written)
    )


def _require_free_hostname(observation: _Observation) -> None:
    """`iotedge config apply` would refuse (from 1.3 on): why write the file, only to put it back?"""
    renames = any(change.path == "hostname" and change.action == "Change" for change in observation.edit.changes)
    if observation.version.numbers >= (1, 3) and renames and observation.facts.taken and observation.facts.modules:
        _require(Result.HOSTNAME, observation)


def _spec_changed(device: EdgeDevice) -> bool:
    return device.status.device.applied_generation != device.generation


def _require(result: Result, observation: _Observation) -> None:
    """Raises what a result that is not APPLIED means."""
    if result is Result.APPLIED:
        return
    error = errors.from_result(result, observation.facts.path)
    if result is Result.PARENT and observation.facts.real_path:
        raise Stalled(error.reason, device_facts.linked(observation.facts))
    # A host name that is refused may be taken later, when the containers are gone: that is not remembered.
    raise error
