"""The last three links: reach the device, make its file say what the spec says, and see the daemon healthy.

One connection a pass, one look, at most one write with one restart. What a restart leads to is seen by the next pass:
only an observation says True.
"""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from edgeherd import config
from edgeherd.cluster.objects import Objects
from edgeherd.device.facts import Facts
from edgeherd.device.port import (
    AddressNotAllowedError,
    CredentialError,
    DeviceError,
    HostKeyMismatchError,
    Login,
    LoginRefusedError,
    OddAnswerError,
    Session,
    SudoRefusedError,
)
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import EdgeDevice, Key, PlannedChange, Secret

Connect = Callable[[Login], AbstractAsyncContextManager[Session]]

CONFIG_YAML = "/etc/iotedge/config.yaml"
BAD_SETTINGS = 153
"""The daemon's exit status for settings that it cannot load (iotedged/src/error.rs, 1.0.10 and later)."""


async def login(objects: Objects, device: EdgeDevice, allowed_networks: tuple[str, ...]) -> Login:
    """The credentials of the device, from its Secret.

    Raises:
        Waiting: the Secret is not there yet.
        Stalled: the Secret's content, or the spec's host keys, cannot be used.
    """
    ssh = device.ssh
    if ssh.has_jump_host or ssh.trust_on_first_use:
        which = "spec.ssh.jumpHost" if ssh.has_jump_host else "spec.ssh.hostKeyPolicy 'TrustOnFirstUse'"
        raise Stalled("NotSupported", f"{which} is not supported by this version yet. Remove it.")
    where = f"Secret '{ssh.secret_name}' (spec.ssh.credentialsSecretRef)"
    secret = await objects.secret(device.namespace, ssh.secret_name)
    if secret is None:
        message = f"There is no {where}. Create it with 'kubectl create secret generic --type=kubernetes.io/ssh-auth'."
        raise Waiting("SshSecretNotFound", message, retry_after=30)
    private_key = secret.data.get("ssh-privatekey", b"")
    if not private_key.strip():
        raise Stalled("SshSecretInvalid", f"{where} has no key 'ssh-privatekey'. Add the private key.")
    known_hosts = _text(secret, "known_hosts")
    if not ssh.host_keys and not known_hosts:
        message = (
            f"No host key is pinned. List the device's keys in spec.ssh.hostKeys, or put 'known_hosts' in {where}."
        )
        raise Stalled("HostKeyNotPinned", message)
    return Login(
        host=ssh.host,
        port=ssh.port,
        user=ssh.user,
        private_key=private_key,
        passphrase=_text(secret, "passphrase") or None,
        host_keys=ssh.host_keys,
        known_hosts=known_hosts,
        certificate=secret.data.get("ssh-certificate"),
        allowed_networks=allowed_networks,
    )


def _text(secret: Secret, key: str) -> str:
    return secret.data.get(key, b"").decode("utf-8", "replace")


def as_next_step(error: DeviceError, device: EdgeDevice) -> ReconcileError:  # noqa: PLR0911 - one for each kind
    """What a failed session means for the pass."""
    host = device.ssh.host
    match error:
        case HostKeyMismatchError():
            message = (
                f"{host} presented {error.presented}, expected {' or '.join(error.expected) or 'none of its kind'}. Nothing was "
                "sent. If the device was re-imaged, put its new key in spec.ssh.hostKeys; otherwise somebody is in between."
            )
            return Stalled("HostKeyMismatch", message)
        case LoginRefusedError():
            message = (
                f"{host} does not accept user '{device.ssh.user}' with the key in Secret '{device.ssh.secret_name}'. "
                "Add the public key to the user's authorized_keys, or mend the Secret."
            )
            return Stalled("SshLoginRefused", message)
        case CredentialError():
            message = f"Secret '{device.ssh.secret_name}' or spec.ssh.hostKeys cannot be used: {error}. Mend it."
            return Stalled("SshSecretInvalid", message)
        case AddressNotAllowedError():
            message = (
                f"{host} is outside of the networks that HubConnection '{device.hub_name}' allows (spec.allowedCIDRs)."
            )
            return Stalled("AddressNotAllowed", message)
        case SudoRefusedError():
            message = f"User '{device.ssh.user}' on {host} may not use sudo without a password. Add a NOPASSWD rule to sudoers."
            return Stalled("SudoRefused", message)
        case OddAnswerError():
            message = f"{host} gave an answer that makes no sense: {error}. It is tried again."
            return Waiting("DeviceAnswerInvalid", message, retry_after=60)
        case _:
            message = f"{host} port {device.ssh.port} cannot be reached: {error}. It is tried again."
            return Waiting("DeviceUnreachable", message, retry_after=30)


def wanted(device: EdgeDevice, connection_string: str) -> config.Wanted:
    """What the daemon's file shall say.

    Raises:
        Stalled: the spec asks for what this version cannot do yet.
    """
    runtime = device.runtime
    unsupported = {
        "spec.runtime.operatingSystem 'Windows'": runtime.operating_system == "Windows",
        "spec.runtime.dialect 'ConfigToml'": runtime.dialect == "ConfigToml",
        "spec.runtime.proxy.httpsProxy": runtime.https_proxy is not None,
        "spec.runtime.agent.registryAuthSecretRef": runtime.registry_secret_name is not None,
    }
    for what, is_set in unsupported.items():
        if is_set:
            raise Stalled("NotSupported", f"{what} is not supported by this version yet. Remove it.")
    env = dict(runtime.agent_env)
    if runtime.upstream_protocol is not None:
        env["UpstreamProtocol"] = runtime.upstream_protocol
    return config.Wanted(
        connection_string=connection_string,
        dynamic_reprovisioning=runtime.dynamic_reprovisioning,
        hostname=runtime.hostname,
        agent_image=runtime.agent_image,
        agent_env=env,
    )


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
        self, device: EdgeDevice, session: Session, want: config.Wanted, *, applied_before: bool
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
            return await self._revive(device, session, Applied(facts=facts, version=version, config_hash=facts.sha256))
        plan = tuple(
            PlannedChange(path=f"device:{c.path}", action=c.action, restart="Daemon" if edit.restarts else "None")
            for c in edit.changes
        )
        if not device.correct_drift and applied_before:
            return Applied(facts=facts, version=version, config_hash=facts.sha256, plan=plan)
        verdict = config.check(edit.content, version=version)
        if not verdict.valid:
            raise Stalled("ConfigNotEditable", f"{path} was left as it is: {verdict.problems[0].message}")
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


def judge_daemon(facts: Facts) -> None:
    """Whether the daemon is healthy: its unit is active and stable, and edgeAgent runs.

    Raises:
        Waiting: not yet.
        Stalled: only a human can mend it.
    """
    unit = facts.unit
    if unit.load_state == "not-found":
        raise Stalled("DaemonMissing", "The device has no unit 'iotedge.service'. Reinstall the runtime.")
    if unit.active_state == "failed" and unit.exec_main_status == BAD_SETTINGS:
        message = f"The daemon cannot load its settings (exit {BAD_SETTINGS}). Run 'iotedge check' on the device."
        raise Waiting("DaemonRefusesConfig", message, retry_after=10)
    if unit.active_state != "active" or unit.sub_state != "running":
        state = f"{unit.active_state or 'unknown'}/{unit.sub_state or 'unknown'}"
        message = f"The daemon is {state} (exit {unit.exec_main_status}). See 'journalctl -u iotedge' on the device."
        raise Waiting("DaemonNotRunning", message, retry_after=5)
    agent = next((module for module in facts.modules if module.name == "edgeAgent"), None)
    if agent is None:
        message = (
            "The daemon runs, but edgeAgent has not appeared. The hub may refuse the key, or the image cannot be pulled: "
            "see 'journalctl -u iotedge' on the device."
        )
        raise Waiting("EdgeAgentMissing", message, retry_after=3)
    if agent.status != "running":
        raise Waiting(
            "EdgeAgentNotRunning", f"edgeAgent is '{agent.status}'. See 'iotedge logs edgeAgent'.", retry_after=5
        )
