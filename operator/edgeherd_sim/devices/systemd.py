"""systemd of a device: which unit a verb is for, and what environment it starts with."""

from collections.abc import Mapping

from edgeherd_sim.devices import apply, environment
from edgeherd_sim.devices.apply import Applier, ApplyError
from edgeherd_sim.devices.behavior import Behavior
from edgeherd_sim.devices.check import Checker
from edgeherd_sim.devices.control import Outcome
from edgeherd_sim.devices.daemon import Daemon
from edgeherd_sim.devices.environment import Environment
from edgeherd_sim.devices.filesystem import FileSystem, write
from edgeherd_sim.devices.runtimes import Runtime

_ENGINE = "docker.service"
_STARTS = {"restart", "try-restart", "start"}


class Environments:
    """The environments of a device's units: as files say, as systemd knows, and as processes got them."""

    def __init__(self, files: FileSystem, units: tuple[str, ...]) -> None:
        self._files = files
        self._units = units
        self._loaded: dict[str, Environment] = {}
        self._started: dict[str, Mapping[str, str]] = {}

    def reload(self) -> None:
        """`systemctl daemon-reload`: changed drop-ins count from now on."""
        for unit in self._units:
            loaded = environment.load(self._files, unit)
            if self._loaded.get(unit, Environment()) != loaded:
                self._show(unit, loaded.shown())
            self._loaded[unit] = loaded

    def _show(self, unit: str, text: str) -> None:
        if text:
            write(self._files.environment(unit), text.encode(), 0o644)
        else:
            self._files.environment(unit).unlink(missing_ok=True)

    def start(self, unit: str) -> None:
        """A process of the unit starts.

        Raises:
            OSError: a file with assignments that must be there is not.
        """
        self._started[unit] = self._loaded.get(unit, Environment()).of_process(self._files)

    def of(self, unit: str) -> Mapping[str, str]:
        """What the unit's process got at its start."""
        return self._started.get(unit, {})

    def known(self, unit: str) -> Mapping[str, str]:
        """What systemd would show."""
        return self._loaded.get(unit, Environment()).said


class Systemd:
    """Does what the programs of the device ask for."""

    def __init__(
        self,
        *,
        files: FileSystem,
        runtime: Runtime,
        daemon: Daemon,
        environments: Environments,
        applier: Applier,
        checker: Checker,
        behavior: Behavior,
    ) -> None:
        self._files = files
        self._runtime = runtime
        self._daemon = daemon
        self._environments = environments
        self._applier = applier
        self._checker = checker
        self._behavior = behavior

    async def boot(self) -> None:
        """The machine starts."""
        self._environments.reload()
        for unit in self._runtime.units:
            self._start_environment(unit)
        await self._daemon.boot()

    async def handle(self, request: str) -> Outcome:
        """One request of a program: a verb, and what it is about."""
        verb, _, about = request.partition(":")
        match verb:
            case "daemon-reload":
                self._environments.reload()
                return Outcome()
            case "config-apply":
                return await self._apply(about)
            case "system-restart" | "system-stop":
                await self._all(verb.removeprefix("system-"))
                return Outcome(output=apply.restarted() if verb == "system-restart" else "")
            case "check":
                return await self._checker.run(about)
            case _:
                return Outcome(status=0 if await self.systemctl(verb, about) else 1)

    async def systemctl(self, verb: str, unit: str) -> bool:
        """`systemctl VERB UNIT`; whether it went well."""
        if verb in _STARTS and not self._start_environment(unit):
            if unit == self._runtime.unit:
                await self._daemon.cannot_start()
            return False
        if unit == self._runtime.unit:
            return await self._daemon.systemctl(verb)
        if unit == _ENGINE and verb in {"restart", "stop"} and not self._behavior.engine_down:
            self._daemon.modules.stop()
            self._daemon.look_again()
        return True

    def _start_environment(self, unit: str) -> bool:
        try:
            self._environments.start(unit)
        except OSError:
            return False
        return True

    async def _apply(self, path: str) -> Outcome:
        try:
            said = self._applier.apply(path)
        except ApplyError as exc:
            return apply.refused(exc)
        if self._behavior.apply_lies:
            self._behavior.refuses = self._behavior.apply_lies
        await self._all("restart")
        return Outcome(output=f"{said}{apply.restarted()}Done.\n")

    async def _all(self, verb: str) -> None:
        """All daemons at once; a restart begins with the end of all of them, so that all get new environments."""
        for unit in self._runtime.units:
            if unit not in {_ENGINE, self._runtime.unit} and verb == "restart":
                self._start_environment(unit)
        await self.systemctl(verb, self._runtime.unit)
