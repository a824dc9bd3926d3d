"""A stand-in for the daemon under systemd: what it makes of its settings, and what becomes of edgeAgent."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from edgeherd import config
from edgeherd_sim.devices import messages
from edgeherd_sim.devices.behavior import Behavior, Pace
from edgeherd_sim.devices.edge_agent import AGENT, EdgeAgent
from edgeherd_sim.devices.filesystem import FileSystem
from edgeherd_sim.devices.hubdoor import AgentHub, Answer, Hub
from edgeherd_sim.devices.journal import Journal
from edgeherd_sim.devices.modules import Modules
from edgeherd_sim.devices.runtimes import BadSettingsError, Runtime, Understood
from edgeherd_sim.devices.unit import BAD_SETTINGS, Unit

__all__ = ["AGENT", "Behavior", "Daemon", "Pace"]

_TOKEN_LIFETIME = 3600


def _report(process: asyncio.Task[None]) -> None:
    """A daemon that ends by an exception is a bug of the simulator: say so."""
    if not process.cancelled() and (error := process.exception()) is not None:
        context = {"message": "the daemon's stand-in failed", "exception": error}
        process.get_loop().call_exception_handler(context)


def _reason(said: messages.Messages, answer: Answer) -> str:
    if answer.unreachable:
        return said.no_connection.format(why=answer.unreachable)
    return said.refused(answer.status, answer.body) if answer.status else answer.reason


class Daemon:
    """The unit, its process, and the containers."""

    def __init__(
        self,
        *,
        files: FileSystem,
        version: config.Version,
        runtime: Runtime,
        hub: Hub,
        journal: Journal,
        pace: Pace,
        behavior: Behavior,
        environment: Callable[[str], Mapping[str, str]],
    ) -> None:
        self.starts = 0
        """How often somebody started or restarted the unit. systemd's own tries do not count, nor does the boot."""
        self.unit = Unit(name=runtime.unit)
        self.modules = Modules(files)
        self.settings: Understood | None = None
        """What it runs with."""
        self._files = files
        self._version = version
        self._runtime = runtime
        self._hub = hub
        self._journal = journal
        self._pace = pace
        self._behavior = behavior
        self._environment = environment
        self._process: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._agent = EdgeAgent(hub=hub, modules=self.modules, version=version, behavior=behavior, pace=pace)
        self._lock = asyncio.Lock()

    async def boot(self) -> None:
        """The machine starts: so does the daemon. Containers of an earlier run were stopped with the machine."""
        self.modules.stop()
        async with self._lock:
            self._start()

    async def shut_down(self) -> None:
        """The machine is switched off: nothing gets a chance to say good-bye."""
        await self._kill()
        await self._agent.gone()
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)

    async def systemctl(self, verb: str) -> bool:
        """What `systemctl VERB` does to the daemon's unit; whether it went well."""
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
                    return verb in {"start", "try-restart"}
        self.starts += verb != "stop"
        return True

    async def cannot_start(self) -> None:
        """Something that the unit needs for a start is missing: systemd gives up before there is a process."""
        async with self._lock:
            await self._stop()
            self.unit.lacks()
            self.unit.save(self._files)

    def look_again(self) -> None:
        """Something happened to the containers; the watchdog shall see it soon."""
        if self.agent_status != "running":
            self._leave()
        if self.unit.sub == "running" and self.settings is not None and (not self._process or self._process.done()):
            self._spawn(self._watch(self.settings))

    @property
    def agent_status(self) -> str:
        """What the container engine says of edgeAgent; empty where there is none."""
        return next((module.status for module in self.modules.all() if module.name == AGENT), "")

    async def heartbeat(self) -> None:
        """An edgeAgent that runs shows itself to its hub from time to time."""
        if self.unit.sub == "running" and self.settings is not None and self.agent_status == "running":
            await self._connect(self.settings)

    def _start(self) -> None:
        self.unit.starts()
        self.unit.save(self._files)
        self._spawn(self._supervise())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._process = asyncio.get_running_loop().create_task(work)
        self._process.add_done_callback(_report)

    async def _stop(self) -> None:
        await self._kill()
        if self.unit.sub == "running":
            self._say("INFO", self._runtime.messages.stopping)
            self.modules.stop()
            self._leave()
        self.unit.stops()
        self.unit.save(self._files)

    async def _kill(self) -> None:
        if self._process is not None:
            self._process.cancel()
            await asyncio.gather(self._process, return_exceptions=True)
            self._process = None
        self._files.management_socket.unlink(missing_ok=True)

    async def _supervise(self) -> None:
        """The part of systemd: Restart=on-failure, RestartPreventExitStatus=153, and a limit where there is one."""
        while status := await self._run():
            tries = None if self._behavior.crashes else self._runtime.tries
            again = status != BAD_SETTINGS and (tries is None or self.unit.restarts < tries)
            self.unit.exits(status, again=again)
            self.unit.save(self._files)
            if not again:
                return
            await asyncio.sleep(self._pace.retry)
            self.unit.starts(automatic=True)
            self.unit.save(self._files)

    async def _run(self) -> int:
        """The process; its exit status, 0 when it has nothing more to do but to be there."""
        said = self._runtime.messages
        self._say("INFO", said.starting.format(version=self._version))
        self.settings = None
        await asyncio.sleep(self._pace.load)
        try:
            settings = self._load()
        except BadSettingsError as exc:
            self._say("ERR!", said.bad_settings.format(why=exc))
            return BAD_SETTINGS
        self._say_proxy()
        if self._behavior.engine_down:
            self._say("ERR!", said.no_engine.format(why=messages.NO_ENGINE))
            return 1
        if self._behavior.refuses or self._behavior.crashes:
            self._say("ERR!", said.bad_start)
            return self._behavior.refuses or 1
        self._say_identity(settings)
        self._compare(settings)
        self.settings = settings
        self._files.management_socket.touch()
        await self._watch(settings)
        return 0

    def _load(self) -> Understood:
        if self._behavior.refuses == BAD_SETTINGS:
            raise BadSettingsError(messages.REFUSED_SETTINGS)
        settings = self._runtime.load()
        read = self._files.applied("edged") if self._files.aziot else self._files.config_file
        if self._behavior.dislikes and self._behavior.dislikes in read.read_bytes():
            raise BadSettingsError(messages.REFUSED_SETTINGS)
        return settings

    def _compare(self, settings: Understood) -> None:
        """Other settings than at the last start cost all containers."""
        state = self._files.settings_state
        with contextlib.suppress(FileNotFoundError):
            if state.read_text() == settings.state:
                return
        self._say("INFO", self._runtime.messages.changed)
        self._say("INFO", self._runtime.messages.removing)
        self.modules.remove()
        state.write_text(settings.state)

    async def _watch(self, settings: Understood) -> None:
        """The watchdog, until edgeAgent runs; it may end again while it connects, when `look_again` finds us at work."""
        while True:
            if await self._look(settings):
                await self._connect(settings)
                if self.agent_status == "running":
                    return
            await asyncio.sleep(self._pace.watchdog)

    async def _look(self, settings: Understood) -> bool:
        """Whether edgeAgent runs. What was there once is started again without asking anybody."""
        said = self._runtime.messages
        if self._behavior.engine_down:
            self._engine_says("0", messages.NO_ENGINE)
            self._warn(said.lost_engine.format(image=settings.agent_image))
            return False
        status = self.agent_status
        if not status and (trouble := await self._create_agent(settings)) is not None:
            self._warn(trouble)
            return False
        if status and status != "running":
            self._say("INFO", said.again.format(status=status))
        if self._behavior.agent_status:
            # Not even for a moment: `iotedge list` may look just then.
            self.modules.end(AGENT, self._behavior.agent_status)
            return False
        if status and status != "running":
            for module in self.modules.all():
                self.modules.run(module.name, module.image, module.hostname)
        self._say("INFO", said.running)
        return True

    async def _create_agent(self, settings: Understood) -> str | None:
        """What was in the way, or None when edgeAgent runs."""
        said = self._runtime.messages
        answer = await self._ask(settings)
        if answer is None:
            return said.not_simulated.format(source=settings.source)
        if not answer.accepted:
            return said.identity.format(why=_reason(said, answer))
        self._say("INFO", said.creating.format(name=AGENT, image=settings.agent_image))
        await asyncio.sleep(self._pace.pull)
        if self._behavior.agent_never_comes:
            why = messages.NO_MANIFEST.format(image=settings.agent_image)
            self._engine_says("HTTP 404 Not Found", why)
            return said.pull.format(image=settings.agent_image, why=why)
        self.modules.run(AGENT, settings.agent_image, settings.hostname)
        self._say("INFO", said.created.format(name=AGENT))
        return None

    async def _ask(self, settings: Understood) -> Answer | None:
        """Whether the hub lets the device in; None where nobody could be asked."""
        if settings.x509 is None and settings.connection is None:
            return None
        if self._behavior.no_network:
            return Answer(accepted=False, unreachable=self._runtime.messages.no_name)
        if self._behavior.clock_skew <= -_TOKEN_LIFETIME:
            # Such a token has expired before it was made.
            return Answer(accepted=False, status="401 Unauthorized", body=messages.UNAUTHORIZED)
        if settings.connection is not None:
            return await self._hub.ask(settings.connection)
        assert settings.x509 is not None  # noqa: S101 - one of them is there
        return await self._present(settings.x509)

    async def _present(self, x509: config.X509) -> Answer:
        """Certificate and key are read where the settings say; whether they belong together is not looked at."""
        try:
            found = [self._files.content_of(uri) for uri in (x509.identity_cert, x509.identity_pk)]
            thumbprint = load_pem_x509_certificate(found[0]).fingerprint(SHA256()).hex()
        except (OSError, ValueError) as exc:
            return Answer(accepted=False, reason=f"Could not load the identity certificate: {type(exc).__name__}")
        return await self._hub.present(x509, thumbprint)

    async def _connect(self, settings: Understood) -> None:
        """Let edgeAgent connect to the hub, if it can: it runs all the same when it cannot."""
        if self._leaving is not None:
            await asyncio.gather(self._leaving, return_exceptions=True)
        if not isinstance(self._hub, AgentHub) or self._behavior.no_network:
            return
        if settings.connection is not None:
            connected = await self._hub.agent_connects(settings.connection)
        elif settings.x509 is not None and (await self._present(settings.x509)).accepted:
            connected = await self._hub.agent_connects(settings.x509)
        else:
            return
        if connected:
            self._agent.connected(*settings.device)

    def _leave(self) -> None:
        """The connection of edgeAgent ends with its container, and the hub sees that."""
        self._agent.left()
        hub, device = self._device()
        if device and isinstance(self._hub, AgentHub):
            work = self._hub.agent_leaves(hub, device)
            self._leaving = asyncio.get_running_loop().create_task(work)
            self._leaving.add_done_callback(_report)

    def _device(self) -> tuple[str, str]:
        return ("", "") if self.settings is None else self.settings.device

    def _say(self, level: str, text: str) -> None:
        self._journal.write(self._runtime.program, level, text)

    def _engine_says(self, status: str, why: str) -> None:
        if text := self._runtime.messages.engine_says:
            self._say("WARN", text.format(status=status, why=why))

    def _warn(self, why: str) -> None:
        self._say("WARN", self._runtime.messages.watchdog.format(why=why))

    def _say_proxy(self) -> None:
        """Whoever asks the hub says so, in the environment of its own unit."""
        environment = self._environment(self._runtime.asker_unit)
        if proxy := environment.get("HTTPS_PROXY") or environment.get("https_proxy"):
            self._journal.write(self._runtime.asker, "INFO", messages.PROXY.format(proxy=messages.masked(proxy)))

    def _say_identity(self, settings: Understood) -> None:
        hub, device = settings.device
        if device and self._runtime.asker != self._runtime.program:
            self._journal.write(self._runtime.asker, "INFO", messages.RECONCILED.format(device=device))
            self._say("INFO", messages.PROVISIONED.format(device=device, hub=hub))
