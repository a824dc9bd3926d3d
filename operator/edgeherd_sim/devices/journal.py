"""The daemons' log, as `journalctl` shows it. A file, so that it outlives the simulator."""

import datetime as dt
import pathlib

from edgeherd_sim.devices.behavior import Behavior

_LIMIT = 256 * 1024
_NUMBERS = {"iotedged": 1000, "aziot-edged": 1000, "aziot-identityd": 1001}


class Journal:
    """Appends lines; forgets the older half when there is too much."""

    def __init__(self, path: pathlib.Path, host: str, behavior: Behavior) -> None:
        self._path = path
        self._host = host
        self._behavior = behavior

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines, oldest first."""
        return tuple(self._path.read_text().splitlines())

    def write(self, program: str, level: str, text: str) -> None:
        """Entries of a daemon, one for each line of `text`."""
        now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self._behavior.clock_skew)
        head = (
            f"{now:%b %d %H:%M:%S} {self._host} {program}[{_NUMBERS[program]}]: {now:%Y-%m-%dT%H:%M:%SZ} [{level}] - "
        )
        self._append("".join(f"{head}{line}\n" for line in text.splitlines()))

    def _append(self, text: str) -> None:
        with self._path.open("a") as stream:
            stream.write(text)
            size = stream.tell()
        if size > _LIMIT:
            kept = self._path.read_text()[-_LIMIT // 2 :]
            self._path.write_text(kept[kept.index("\n") + 1 :])
