"""The daemon's file, judged and edited in a worker process: its parsers take as long as who wrote it likes.

What was found is remembered by what was asked, so that a pass over what is right already asks no process.
"""

import dataclasses
import json

from edgeherd import config
from edgeherd.cache import Cache, digest
from edgeherd.worker import Run

PROCESSES = 2
SECONDS = 10.0
"""How many files are looked at once, and how much processor time one may take; at the limits of `config` it takes 1.5 s
(measured), the template 0.02 s."""

CACHED_BYTES = 8 * 1024 * 1024
"""Room for 4,000 files that are right, at least."""


_Verdict = config.Edit | config.UneditableError


class ConfigEditor:
    """`config` for those who must not wait. `run` runs it elsewhere."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._verdicts = Cache[_Verdict](CACHED_BYTES)

    async def edit(self, content: bytes, wanted: config.Wanted, *, version: config.Version) -> config.Edit:
        """See `config.edit`.

        Raises:
            UneditableError: it cannot be edited safely.
            WorkerError: it could not be judged.
        """
        if len(content) > config.MAX_BYTES:
            content = content[: config.MAX_BYTES + 1]  # refused all the same

        async def judge() -> tuple[_Verdict, int]:
            verdict: _Verdict = await self._run(_judged, content, wanted, version)
            if isinstance(verdict, config.Edit):
                is_right = verdict.content == content
                # Of a file that stays as it is the bytes are at hand each time.
                kept = dataclasses.replace(verdict, content=b"") if is_right else verdict
                return kept, len(kept.content) + sum(len(c.before) + len(c.after) for c in kept.changes)
            return verdict, sum(len(problem.message) for problem in verdict.problems)

        wishes = json.dumps(dataclasses.asdict(wanted))
        verdict = await self._verdicts.get(digest(content, wishes, str(version)), judge)
        if isinstance(verdict, config.UneditableError):
            raise config.UneditableError(verdict.problems)
        return verdict if verdict.content else dataclasses.replace(verdict, content=content)

    async def check(self, content: bytes, *, version: config.Version) -> config.Verdict:
        """See `config.check`.

        Raises:
            WorkerError: it could not be judged.
        """
        verdict: config.Verdict = await self._run(_checked, content[: config.MAX_BYTES + 1], version)
        return verdict

    async def retire(
        self, content: bytes, device_id: str, host_name: str, *, version: config.Version
    ) -> config.Edit | None:
        """The file without what `edit` put in; None where nothing of the device is in it.

        Of one that is provisioned as another device, for another hub, or not at all, comments alone lose this device's keys.

        Raises:
            ConfigError, ValueError: it cannot be used.
            WorkerError: it could not be judged.
        """
        edit: config.Edit | None = await self._run(
            _retired, content[: config.MAX_BYTES + 1], device_id, host_name, version
        )
        return edit

    async def provisioned_as(self, content: bytes, *, version: config.Version) -> str:
        """The device id that the file is for; empty for none, and where it cannot be told.

        Raises:
            WorkerError: it could not be judged.
        """
        found: str = await self._run(_device_id, content[: config.MAX_BYTES + 1], version)
        return found


def _judged(content: bytes, wanted: config.Wanted, version: config.Version) -> _Verdict:
    """Runs in the worker."""
    try:
        return config.edit(content, wanted, version=version)
    except config.UneditableError as exc:
        return exc


def _checked(content: bytes, version: config.Version) -> config.Verdict:
    """Runs in the worker."""
    return config.check(content, version=version)


def _retired(content: bytes, device_id: str, host_name: str, version: config.Version) -> config.Edit | None:
    """Runs in the worker."""
    swept = config.sweep(content, device_id, version=version)
    try:
        found, host = _provisioned_as(config.load(content, version=version))
    except config.InvalidConfigError:
        if swept.changes:
            return swept  # somebody made a comment of all of it: no daemon runs with that, but the key is there
        raise
    if found != device_id or host.lower() != host_name.lower():
        return swept if swept.changes else None
    return config.deprovision(content, version=version)


def _device_id(content: bytes, version: config.Version) -> str:
    """Runs in the worker."""
    try:
        return _provisioned_as(config.load(content, version=version))[0]
    except (config.ConfigError, ValueError):
        return ""


def _provisioned_as(settings: config.Settings) -> tuple[str, str]:
    """The device id and the hub's host name in the daemon's file; empty for none."""
    if settings.x509 is not None:
        return settings.x509.device_id, settings.x509.iothub_hostname
    if not settings.connection_string:
        return "", ""
    said = config.parse_connection_string(settings.connection_string)
    return said.device_id, said.host_name
