"""A stand-in for iotedged 1.0 and 1.1 under systemd: what it makes of its settings, and what becomes of edgeAgent."""

import asyncio
import contextlib
import dataclasses
import functools

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from edgeherd import config
from edgeherd.sim.devices.filesystem import FileSystem
from edgeherd.sim.devices.hubdoor import Answer, Hub
from edgeherd.sim.devices.journal import Journal
from edgeherd.sim.devices.modules import Modules
from edgeherd.sim.devices.unit import BAD_SETTINGS, Unit

AGENT = "edgeAgent"
_START_LIMIT = 5
_CONNECTION_STRING = "manual.device_connection_string"


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


@dataclasses.dataclass(slots=True, kw_only=True)
class Moods:
    """What may be wrong with a daemon whatever its settings say."""

    refuses: int = 0
    """The exit status with which it ends when it is started; 0 for a daemon that works."""
    agent_never_comes: bool = False
    """edgeAgent's image cannot be pulled."""


class _BadSettingsError(Exception):
    """The daemon cannot use its settings; the text is for the journal."""


@functools.lru_cache(maxsize=256)
def _load(content: bytes, version: config.Version) -> config.Settings:
    return config.load(content, version=version)


def _report(process: asyncio.Task[None]) -> None:
    """A daemon that ends by an exception is a bug of the simulator: say so."""
    if not process.cancelled() and (error := process.exception()) is not None:
        context = {"message": "the daemon's stand-in failed", "exception": error}
        process.get_loop().call_exception_handler(context)


class Daemon:
    """The unit, its process, and the containers."""

    def __init__(
        self, *, files: FileSystem, version: config.Version, hub: Hub, journal: Journal, pace: Pace, moods: Moods
    ) -> None:
        self.starts = 0
        """How often somebody started or restarted the unit. systemd's own tries do not count, nor does the boot."""
        self.unit = Unit()
        self.modules = Modules(files)
        self._files = files
        self._version = version
        self._hub = hub
        self._journal = journal
        self._pace = pace
        self._moods = moods
        self._process: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def boot(self) -> None:
        """The machine starts: so does the daemon. Containers of an earlier run were stopped with the machine."""
        self.modules.stop()
        async with self._lock:
            self._start()

    async def shut_down(self) -> None:
        """The machine is switched off: nothing gets a chance to say good-bye."""
        await self._kill()

    async def systemctl(self, verb: str) -> bool:
        """What `systemctl VERB iotedge.service` does; whether it went well."""
        async with self._lock:
            match verb:
                case "restart":
                    await self._stop()
                    self._start()
                case "start" if self.unit.active != "active":
                    self._start()
                case "try-restart" if self.unit.active == "active":
                    await self._stop()
                    self._start()
                case "stop":
                    await self._stop()
                case "reset-failed":
                    self.unit.resets()
                    self.unit.save(self._files)
                    return True
                case _:
                    return verb in {"start", "try-restart", "daemon-reload"}
        self.starts += verb != "stop"
        return True

    def _start(self) -> None:
        self.unit.starts()
        self.unit.save(self._files)
        self._process = asyncio.get_running_loop().create_task(self._supervise())
        self._process.add_done_callback(_report)

    async def _stop(self) -> None:
        await self._kill()
        if self.unit.sub == "running":
            self._journal.write("INFO", "Stopping all modules...")
            self.modules.stop()
        self.unit.stops()
        self.unit.save(self._files)

    async def _kill(self) -> None:
        if self._process is not None:
            self._process.cancel()
            await asyncio.gather(self._process, return_exceptions=True)
            self._process = None
        self._files.management_socket.unlink(missing_ok=True)

    async def _supervise(self) -> None:
        """The part of systemd: Restart=on-failure, RestartPreventExitStatus=153, five tries."""
        while status := await self._run():
            again = status != BAD_SETTINGS and self.unit.restarts < _START_LIMIT
            self.unit.exits(status, again=again)
            self.unit.save(self._files)
            if not again:
                return
            await asyncio.sleep(self._pace.retry)
            self.unit.starts(automatic=True)
            self.unit.save(self._files)

    async def _run(self) -> int:
        """The process; its exit status, 0 when it has nothing more to do but to be there."""
        self._journal.write("INFO", f"Starting Azure IoT Edge Security Daemon\nVersion - {self._version}")
        await asyncio.sleep(self._pace.load)
        try:
            settings = self._settings()
        except _BadSettingsError as exc:
            words = f"The daemon could not start up successfully: Could not load settings\n  caused by: {exc}"
            self._journal.write("ERR!", words)
            return BAD_SETTINGS
        if self._moods.refuses:
            self._journal.write("ERR!", "The daemon could not start up successfully: A module runtime error occurred")
            return self._moods.refuses
        self._compare(settings)
        self._files.management_socket.touch()
        await self._watch(settings)
        return 0

    def _settings(self) -> config.Settings:
        if self._moods.refuses == BAD_SETTINGS:
            raise _BadSettingsError("configuration property could not be read")
        mode = self._files.config_file.stat().st_mode if self._files.config_file.exists() else 0
        # The owner of the file is user iotedge, whoever runs the simulator: the mode decides, even for root.
        if not mode & 0o400:
            raise _BadSettingsError("Permission denied (os error 13)" if mode else "configuration file not found")
        try:
            return _load(self._files.config_file.read_bytes(), self._version)
        except config.InvalidConfigError as exc:
            raise _BadSettingsError(str(exc)) from None

    def _compare(self, settings: config.Settings) -> None:
        """Other settings than at the last start cost all containers."""
        state = self._files.settings_state
        with contextlib.suppress(FileNotFoundError):
            if state.read_text() == settings.meaning:
                return
        self._journal.write("INFO", "Change to configuration file detected.")
        self._journal.write("INFO", "Removing all modules...")
        self.modules.remove()
        state.write_text(settings.meaning)

    async def _watch(self, settings: config.Settings) -> None:
        """The watchdog, until edgeAgent runs: what ran once is started again without asking anybody."""
        if any(module.name == AGENT for module in self.modules.all()):
            for module in self.modules.all():
                self.modules.run(module.name, module.image)
            self._journal.write("INFO", "Edge runtime is running.")
            return
        while (trouble := await self._create_agent(settings)) is not None:
            words = f"Error in watchdog when checking for edge runtime status:\n  caused by: {trouble}"
            self._journal.write("WARN", words)
            await asyncio.sleep(self._pace.watchdog)

    async def _present(self, x509: config.X509) -> Answer:
        """Certificate and key are read where the settings say; whether they belong together is not looked at."""
        try:
            found = [self._files.content_of(uri) for uri in (x509.identity_cert, x509.identity_pk)]
            thumbprint = load_pem_x509_certificate(found[0]).fingerprint(SHA256()).hex()
        except (OSError, ValueError) as exc:
            return Answer(accepted=False, reason=f"Could not load the identity certificate: {type(exc).__name__}")
        return await self._hub.present(x509, thumbprint)

    async def _create_agent(self, settings: config.Settings) -> str | None:
        """What was in the way, or None when edgeAgent runs."""
        if settings.x509 is not None:
            answer = await self._present(settings.x509)
        elif settings.source == _CONNECTION_STRING:
            answer = await self._hub.ask(config.parse_connection_string(settings.connection_string))
        else:
            return f"provisioning by '{settings.source}' is not simulated"
        if not answer.accepted:
            return f"Could not get module {AGENT}\n  caused by: {answer.reason}"
        self._journal.write("INFO", f"Pulling image {settings.agent_image}...")
        await asyncio.sleep(self._pace.pull)
        if self._moods.agent_never_comes:
            return f"Could not pull image {settings.agent_image}\n  caused by: manifest unknown"
        self.modules.run(AGENT, settings.agent_image)
        self._journal.write("INFO", f"Successfully started module {AGENT}")
        self._journal.write("INFO", "Edge runtime is running.")
        return None
