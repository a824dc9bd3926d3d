"""How fast things happen on a device, and what may be wrong with it whatever its settings say."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take, in seconds. Real devices are slower."""

    load: float = 0.05
    """From the start of the process, which is all that `systemctl restart` waits for, to the verdict on its settings."""
    watchdog: float = 3.0
    """Between two tries to start edgeAgent. It is 60 on a device."""
    pull: float = 0.3
    """To pull edgeAgent's image and start it."""
    retry: float = 0.1
    """Between a crash and systemd's next try."""
    check: float = 0.1
    """For `iotedge check`. It is half a minute on a device."""
    heartbeat: float = 60.0
    """Between two signs of life of an edgeAgent that is connected to its hub."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Behavior:
    """What is wrong at the moment."""

    refuses: int = 0
    """The exit status with which the daemon ends when it is started; 0 for a daemon that works."""
    dislikes: bytes = b""
    """What is refused, like settings that cannot be loaded, wherever it stands in them; empty for nothing."""
    crashes: bool = False
    """It ends with status 1 whenever it is started, and systemd never gives up."""
    agent_never_comes: bool = False
    """edgeAgent's image cannot be pulled."""
    module_image_pull_fails: bool = False
    """No image of a deployment can be pulled; edgeAgent's own can."""
    agent_status: str = ""
    """What becomes of edgeAgent's container as soon as it was started; empty where it runs."""
    no_network: bool = False
    """No name can be resolved."""
    engine_down: bool = False
    """The container engine does not answer."""
    apply_lies: int = 0
    """The exit status with which the daemon ends after an `iotedge config apply` that said all was well."""
    read_only: bool = False
    """Nothing can be written."""
    clock_skew: int = 0
    """By how many seconds the device's clock is ahead."""
