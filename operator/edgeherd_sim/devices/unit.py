"""What systemd knows of the daemon's unit, kept where the device's `systemctl` reads it."""

import dataclasses
import time

from edgeherd_sim.devices.filesystem import FileSystem, write

BAD_SETTINGS = 153
"""The exit status that the unit file names in RestartPreventExitStatus."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Unit:
    """The daemon's unit, `iotedge.service` or `aziot-edged.service`."""

    name: str = "iotedge.service"
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    status: int = 0
    restarts: int = 0
    started: float = 0.0
    started_monotonic: float = 0.0

    def save(self, files: FileSystem) -> None:
        """Show it to the device."""
        started = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(self.started)) if self.started else ""
        running = self.sub == "running"
        lines = {
            "Type": "simple",
            "Restart": "on-failure",
            "NRestarts": self.restarts,
            "MainPID": 1000 if running else 0,
            "Result": self.result,
            "ExecMainStartTimestamp": started,
            "ExecMainStartTimestampMonotonic": int(self.started_monotonic * 1e6),
            "ExecMainPID": 1000 if self.started else 0,
            "ExecMainCode": 0 if running or not self.started else 1,
            "ExecMainStatus": self.status,
            "User": "iotedge",
            "Id": self.name,
            "LoadState": "loaded",
            "ActiveState": self.active,
            "SubState": self.sub,
            "FragmentPath": f"/lib/systemd/system/{self.name}",
            "UnitFileState": "enabled",
        }
        write(files.unit(self.name), "".join(f"{key}={value}\n" for key, value in lines.items()).encode(), 0o644)

    def starts(self, *, automatic: bool = False) -> None:
        """The process was started."""
        self.active, self.sub, self.result, self.status = "active", "running", "success", 0
        self.restarts = self.restarts + 1 if automatic else 0
        self.started, self.started_monotonic = time.time(), time.monotonic()

    def stops(self) -> None:
        """Somebody stopped it."""
        self.active, self.sub, self.result, self.status = "inactive", "dead", "success", 0

    def exits(self, status: int, *, again: bool) -> None:
        """It ended by itself; `again` when systemd is about to start it once more."""
        self.active, self.sub = ("activating", "auto-restart") if again else ("failed", "failed")
        self.result, self.status = "exit-code", status

    def lacks(self) -> None:
        """It could not be started at all."""
        self.active, self.sub, self.result, self.status = "failed", "failed", "resources", 0

    def resets(self) -> None:
        """`systemctl reset-failed`."""
        if self.active == "failed":
            self.active, self.sub, self.result = "inactive", "dead", "success"
        self.restarts = 0
