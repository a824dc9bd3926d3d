"""The daemon's log, as `journalctl -u iotedge` shows it. A file, so that it outlives the simulator."""

import datetime as dt
import pathlib

_LIMIT = 256 * 1024


class Journal:
    """Appends lines; forgets the older half when there is too much."""

    def __init__(self, path: pathlib.Path, host: str) -> None:
        self._path = path
        self._host = host

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines, oldest first."""
        return tuple(self._path.read_text().splitlines())

    def write(self, level: str, text: str) -> None:
        """One entry of the daemon; further lines of `text` are entries of their own, as systemd makes them."""
        now = dt.datetime.now(dt.UTC)
        stamp = now.strftime("%b %d %H:%M:%S")
        first, *more = text.splitlines() or [""]
        entries = [f"{now:%Y-%m-%dT%H:%M:%SZ} [{level}] - {first}", *more]
        self._append("".join(f"{stamp} {self._host} iotedged[1000]: {entry}\n" for entry in entries))

    def _append(self, text: str) -> None:
        with self._path.open("a") as stream:
            stream.write(text)
            size = stream.tell()
        if size > _LIMIT:
            kept = self._path.read_text()[-_LIMIT // 2 :]
            self._path.write_text(kept[kept.index("\n") + 1 :])
