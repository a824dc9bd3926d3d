"""What a look at a device means, before anything is compared with the spec. Pure."""

from collections.abc import Iterable

from edgeherd import config
from edgeherd.device.facts import Facts
from edgeherd.errors import Stalled, Waiting
from edgeherd.model import EdgeDevice

SLACK_SECONDS = 2
"""The device's clocks are read in whole seconds, one after the other."""


def require_tools(device: EdgeDevice, facts: Facts) -> None:
    """Nothing else that is said can be relied on where a tool is missing.

    Raises:
        Stalled: one is.
    """
    if facts.missing:
        *others, last = (f"'{name}'" for name in facts.missing)
        names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        message = (
            f"{device.ssh.host} lacks tools that edgeherd needs there: {names} missing, or built without an option that is "
            "needed. Nothing was changed. Install what is missing (on small systems: busybox with these applets, or "
            "coreutils); docs/devices.md lists all that is needed."
        )
        raise Stalled("DeviceToolMissing", message)


def fingerprint(facts: Facts) -> str:
    """Of the daemon's file, as the status has it; empty for none."""
    return "" if facts.kind == "absent" else f"sha256:{facts.sha256}"


def is_outdated(device: EdgeDevice, facts: Facts) -> bool:
    """Whether the daemon was started before its file became what it is, and nobody has confirmed that content since.

    A time stamp alone proves nothing: a backup or a package script may touch the file. One in the future comes from a
    clock that was wrong.
    """
    if facts.modified is None or facts.started is None or facts.now is None:
        return False
    if device.status.device.config_hash == fingerprint(facts):
        return False
    return facts.started + SLACK_SECONDS < facts.modified <= facts.now


def version(device: EdgeDevice, facts: Facts) -> config.Version:
    """The runtime's.

    Raises:
        Waiting: there is none yet.
        Stalled: it is another one than the spec insists on.
    """
    if not facts.version:
        message = "The device has no IoT Edge runtime ('iotedge version' fails). Install it."
        raise Waiting("RuntimeNotFound", message, retry_after=60)
    parsed = config.Version.parse(facts.version)
    insisted, found = device.runtime.dialect, parsed.dialect.value
    if device.runtime.on_windows and parsed.dialect is config.Dialect.TOML:
        message = f"The device runs IoT Edge {facts.version}, which is not for Windows. Set spec.runtime.operatingSystem to 'Linux'."
        raise Stalled("RuntimeDiffers", message)
    if insisted not in {"Auto", found}:
        message = (
            f"The device runs IoT Edge {facts.version}, whose file is a {found}; spec.runtime.dialect is '{insisted}'."
        )
        raise Stalled("RuntimeDiffers", f"{message} Change one of them.")
    return parsed


REMADE = "'docker rm -f edgeAgent' on the device makes it anew"


def kept_by_agent(version: config.Version, facts: Facts, paths: Iterable[str]) -> str:
    """What a change does not reach: from 1.2 on the daemon starts the container of edgeAgent that is there again, as it is.

    It removes containers for another hub, device or parent alone (aziot-edged/src/provision.rs of 1.3.0 to 1.6.1, and
    `compute_provisioning_result_digest` of 1.2); edgeAgent gets image, environment and host name when it is made
    (watchdog.rs). Users met it as Azure/iotedge issues 6231 and 6241.

    Args:
        version: of the runtime.
        facts: as the device was before the change.
        paths: what was changed in the file.
    """
    there = any(module.name == "edgeAgent" for module in facts.modules)
    found = [name for prefix, name in _OF_AGENT.items() if any(path.startswith(prefix) for path in paths)]
    if version.dialect is not config.Dialect.TOML or not there or not found:
        return ""
    return f" edgeAgent's container keeps the {' and the '.join(found)} that it was made with: {REMADE}."


_OF_AGENT = {"hostname": "host name", "agent.config": "image", "agent.env": "environment"}


def elsewhere(facts: Facts) -> str:
    """What to put into `spec.runtime.configPath` where the file is not in its usual place."""
    where = f"'{facts.real_path}'" if facts.real_path else "the path where the file really is"
    return f"{where}, which the HubConnection's allowedConfigPaths must allow"


def linked(facts: Facts) -> str:
    """Of a folder that is a link: what it means that nothing is written through it."""
    return (
        f"A folder on the way to {facts.path} is a symbolic link: the file is {facts.real_path}. Whoever may change the link "
        "could have keys written elsewhere, so nothing was changed. If it is meant so (a data partition of an A/B image), set "
        f"spec.runtime.configPath to {elsewhere(facts)}; otherwise fix the folder."
    )


def content(facts: Facts, version: config.Version) -> bytes:
    """What is edited: the file, or what the package has for a device that was never configured.

    Raises:
        Stalled: it cannot be read, or is no file.
    """
    match facts.kind:
        case "file" if facts.content is not None:
            return facts.content
        case "file":
            message = f"{facts.path} cannot be read, not even as root. Look at its mode and its file system."
            raise Stalled("ConfigUnreadable", message)
        case "symlink":
            to = f" to {facts.real_path}" if facts.real_path else ""
            message = (
                f"{facts.path} is a symbolic link{to}. A file is replaced, and a link would be gone then, so it is left alone. "
                f"If it is meant so, set spec.runtime.configPath to {elsewhere(facts)}; otherwise put a regular file there."
            )
            raise Stalled("ConfigUnreadable", message)
        case "absent" if not facts.has_folder:
            package = "aziot-edge" if version.dialect is config.Dialect.TOML else "iotedge"
            message = (
                f"There is no folder {facts.path.rpartition('/')[0]} on the device, though it has IoT Edge {facts.version}: it "
                f"is installed in part, or not from its package (as a snap, in an image of one's own). Install {package}, or "
                f"set spec.runtime.configPath to {elsewhere(facts)}."
            )
            raise Stalled("ConfigMissing", message)
        case "absent" if version.dialect is config.Dialect.TOML:
            return facts.template or b""
        case "absent":
            message = f"{facts.path} does not exist. Reinstall the runtime, or set spec.runtime.configPath."
            raise Stalled("ConfigMissing", message)
        case _:
            message = f"{facts.path} is not a regular file. It is left alone; put a regular file there."
            raise Stalled("ConfigUnreadable", message)
