"""The fourth link: make the daemon's file say what the spec says.

One look, at most one write with one restart. What a restart leads to is seen by the next pass: only an observation says
True.
"""

import dataclasses

from edgeherd import config
from edgeherd.device.facts import Facts
from edgeherd.device.port import Session
from edgeherd.errors import Stalled, Waiting
from edgeherd.herd.daemon import BAD_SETTINGS
from edgeherd.herd.identity import Certificate
from edgeherd.herd.wanted import certificate_paths
from edgeherd.model import EdgeDevice, Key, PlannedChange

CONFIG_YAML = "/etc/iotedge/config.yaml"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The outcome of the configuration link."""

    facts: Facts
    version: config.Version
    config_hash: str
    plan: tuple[PlannedChange, ...] = ()
    restarted: bool = False
    events: tuple[tuple[str, str], ...] = ()


class ConfigurationLink:
    """Makes the daemon's file say what the spec says."""

    def __init__(self) -> None:
        self._refused: dict[Key, str] = {}
        self._revived: dict[Key, str] = {}

    def forget(self, key: Key) -> None:
        """The device is gone."""
        self._refused.pop(key, None)
        self._revived.pop(key, None)

    def healthy(self, key: Key) -> None:
        """The daemon was seen healthy: should it fail again, it may be started again."""
        self._revived.pop(key, None)

    async def apply(
        self,
        device: EdgeDevice,
        session: Session,
        want: config.Wanted,
        *,
        certificate: Certificate | None,
        applied_before: bool,
    ) -> Applied:
        """Look at the file; write and restart once if its meaning must change.

        Raises:
            Waiting: the file changed meanwhile, or no runtime is installed yet.
            Stalled: the file or the runtime needs a human.
        """
        path = device.runtime.config_path or CONFIG_YAML
        facts = await session.observe(path)
        version = _version(facts)
        content = _content(facts, path)
        try:
            edit = config.edit(content, want, version=version)
        except config.UneditableError as exc:
            raise Stalled("ConfigNotEditable", f"{path} was left as it is: {exc}") from None
        if not edit.changes:
            if certificate is not None and device.correct_drift and await _place(device, session, certificate, path):
                await session.restart()
                event = ("CertificatePlaced", "A new certificate was put on the device and the daemon restarted.")
                return Applied(facts=facts, version=version, config_hash=facts.sha256, restarted=True, events=(event,))
            return await self._revive(device, session, Applied(facts=facts, version=version, config_hash=facts.sha256))
        plan = tuple(
            PlannedChange(path=f"device:{c.path}", action=c.action, restart="Daemon" if edit.restarts else "None")
            for c in edit.changes
        )
        if not device.correct_drift and applied_before:
            return Applied(facts=facts, version=version, config_hash=facts.sha256, plan=plan)
        if certificate is not None:
            await _place(device, session, certificate, path)
        await self._write(device, session, path, facts, edit)
        reason = "ConfigDriftCorrected" if applied_before else "ConfigApplied"
        what = ", ".join(change.path for change in edit.changes)
        event = (reason, f"{path} was changed ({what}) and the daemon restarted.")
        return Applied(facts=facts, version=version, config_hash=facts.sha256, restarted=True, events=(event,))

    async def _revive(self, device: EdgeDevice, session: Session, applied: Applied) -> Applied:
        """Start a daemon that gave up (perhaps on an earlier file), once for a content: systemd will not try again."""
        content_hash = applied.config_hash
        gave_up = applied.facts.unit.active_state == "failed"
        if not gave_up or not device.correct_drift or self._revived.get(device.key) == content_hash:
            return applied
        self._revived[device.key] = content_hash
        await session.restart()
        event = ("DaemonRestarted", "The daemon had failed while its file is right; it was started again.")
        return dataclasses.replace(applied, restarted=True, events=(event,))

    async def _write(self, device: EdgeDevice, session: Session, path: str, facts: Facts, edit: config.Edit) -> None:
        content_hash = config.fingerprint(edit.content)
        if self._refused.get(device.key) == content_hash:
            message = f"The daemon refused this configuration before; {path} was put back. Change the spec or the file."
            raise Stalled("ConfigRejected", message)
        result = await session.apply(path, before=facts.sha256, content=edit.content)
        _require_applied(result, path)
        after = await session.observe(path)
        if after.unit.exec_main_status == BAD_SETTINGS and after.unit.active_state != "active":
            self._refused[device.key] = content_hash
            await session.apply(path, before=after.sha256, content=facts.content or b"")
            message = f"The daemon refused the new configuration (exit {BAD_SETTINGS}); {path} was put back as it was."
            raise Stalled("ConfigRejected", message)
        self._refused.pop(device.key, None)


async def _place(device: EdgeDevice, session: Session, certificate: Certificate, config_path: str) -> bool:
    """Put certificate and private key where the daemon reads them. Returns whether anything was written."""
    placed = False
    for path, content in zip(
        certificate_paths(device), (certificate.certificate, certificate.private_key), strict=True
    ):
        match await session.place(path, content, like=config_path):
            case "placed":
                placed = True
            case "same":
                pass
            case result:
                _require_applied(result, path)
    return placed


def _version(facts: Facts) -> config.Version:
    if not facts.version:
        raise Waiting(
            "RuntimeNotFound",
            "The device has no IoT Edge runtime ('iotedge version' fails). Install it.",
            retry_after=60,
        )
    version = config.Version.parse(facts.version)
    if version.dialect is not config.Dialect.YAML:
        message = f"The device runs IoT Edge {facts.version}; this version of edgeherd configures 1.0 and 1.1 only."
        raise Stalled("NotSupported", message)
    return version


def _content(facts: Facts, path: str) -> bytes:
    match facts.kind:
        case "file" if facts.content is not None:
            return facts.content
        case "file":
            raise Stalled(
                "ConfigUnreadable", f"{path} cannot be read, not even as root. Look at its mode and its file system."
            )
        case "absent":
            raise Stalled(
                "ConfigMissing", f"{path} does not exist. Reinstall the runtime, or set spec.runtime.configPath."
            )
        case _:
            raise Stalled(
                "ConfigUnreadable", f"{path} is not a regular file. It is left alone; put a regular file there."
            )


def _require_applied(result: str, path: str) -> None:
    match result:
        case "applied":
            return
        case "changed":
            raise Waiting(
                "ConfigChanging",
                f"{path} was changed by somebody else meanwhile. It is looked at again.",
                retry_after=2,
            )
        case "unwritable":
            message = f"{path} cannot be replaced: the file system is full or read-only. Make room or remount it."
            raise Waiting("ConfigUnwritable", message, retry_after=60)
        case "owner":
            message = (
                f"The owner and mode of {path} cannot be kept on a new file. Nothing was changed; check sudo's rights."
            )
            raise Stalled("ConfigUnwritable", message)
        case _:
            message = f"The new {path} did not arrive whole; the old one is untouched. It is tried again."
            raise Waiting("ConfigIncomplete", message, retry_after=5)
