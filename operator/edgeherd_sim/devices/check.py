"""`iotedge check` of both generations: what it finds, as text or as the one line of JSON."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping

from edgeherd import config
from edgeherd_sim.devices import findings
from edgeherd_sim.devices.behavior import Behavior, Pace
from edgeherd_sim.devices.control import Outcome
from edgeherd_sim.devices.daemon import Daemon
from edgeherd_sim.devices.filesystem import FileSystem
from edgeherd_sim.devices.findings import Result
from edgeherd_sim.devices.runtimes import Runtime, Understood

_CLOCK_TOLERANCE = 10
_PORTS = {"amqp": ("AMQP", 5671), "https": ("HTTPS / WebSockets", 443), "mqtt": ("MQTT", 8883)}


class Checker:
    """The command of one device."""

    def __init__(
        self,
        *,
        files: FileSystem,
        version: config.Version,
        runtime: Runtime,
        daemon: Daemon,
        environment: Callable[[str], Mapping[str, str]],
        behavior: Behavior,
        pace: Pace,
    ) -> None:
        self._files = files
        self._version = version
        self._runtime = runtime
        self._daemon = daemon
        self._environment = environment
        self._behavior = behavior
        self._pace = pace

    async def run(self, how: str) -> Outcome:
        """`how` is `text:root`, `json:user` and so on."""
        form, _, who = how.partition(":")
        await asyncio.sleep(self._pace.check)
        results = list(self._results(as_root=who == "root"))
        status = 1 if any(result.verdict == "error" for result in results) else 0
        return Outcome(status=status, output=self._json(results) if form == "json" else findings.text(results))

    def _json(self, results: list[Result]) -> str:
        now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self._behavior.clock_skew)
        version = "aziot_edged_version" if self._files.aziot else "iotedged_version"
        about = {
            "docker_version": None if self._behavior.engine_down else "20.10.25",
            version: str(self._version),
            "now": now.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
            "os": {"id": "debian", "version_id": "12", "arch": "x86_64", "bitness": 64},
            "system_info": {"used_ram": "612.00 MiB", "total_ram": "3.84 GiB", "disks": []},
        }
        checks = {
            result.id: {
                "result": {
                    "result": result.verdict,
                    **({"details": list(result.details)} if result.details else {}),
                },
                "additional_info": dict(result.info),
            }
            for result in results
        }
        return json.dumps({"additional_info": about, "checks": checks}, separators=(",", ":"))

    def _results(self, *, as_root: bool) -> Iterator[Result]:
        if self._files.aziot:
            yield from self._aziot(as_root)
        else:
            yield from self._classic(as_root)

    # ---- 1.0 and 1.1

    def _classic(self, as_root: bool) -> Iterator[Result]:
        settings, problems = self._settings(as_root)
        broken = [problem for problem in problems if not problem.rule.startswith("connection-string")]
        about = ("config-yaml-well-formed", "config.yaml is well-formed")
        if broken:
            first = "The IoT Edge daemon's configuration file /etc/iotedge/config.yaml is not well-formed."
            yield findings.bad(about, first, str(broken[0]))
        else:
            yield findings.good(about)
        about = ("connection-string", "config.yaml has well-formed connection string")
        names = (
            {"iothub_hostname": settings.device[0] or None, "device_id": settings.device[1] or None} if settings else {}
        )
        if broken:
            yield findings.skipped(about)
        elif problems:
            first = (
                "Invalid connection string format detected.\n"
                "Please check the value of the provisioning.device_connection_string parameter."
            )
            yield findings.bad(about, first, str(problems[0]), info={"iothub_hostname": None, "device_id": None})
        else:
            yield findings.good(about, info=names)
        yield self._engine()
        yield from self._machine(settings, "config.yaml has correct hostname")
        yield findings.warned(
            ("certificates-quickstart", "production readiness: certificates"),
            findings.CERTIFICATES.format(
                at=(dt.datetime.now(dt.UTC) + dt.timedelta(days=89)).strftime("%Y-%m-%d %H:%M:%S UTC")
            ),
        )
        yield from self._storage()
        yield findings.ignored(
            ("host-connect-dps-endpoint", "host can connect to and perform TLS handshake with DPS endpoint")
        )
        yield from self._connections(settings, "host", "host-connect-iothub", "IoT Hub")
        yield from self._connections(
            settings, "container on the default network", "container-default-connect-iothub", "IoT Hub"
        )
        yield from self._connections(
            settings, "container on the IoT Edge module network", "container-connect-iothub", "IoT Hub"
        )

    # ---- 1.2 and later

    def _aziot(self, as_root: bool) -> Iterator[Result]:
        settings, problems = self._settings(as_root)
        for service in ("keyd", "certd", "tpmd", "identityd"):
            about = (f"{service}-config-well-formed", f"{service} configuration is well-formed")
            yield findings.good(about) if settings is not None else findings.bad(about, str(problems[0]))
        yield from self._running(settings)
        yield from self._connections(settings, "host", "host-connect-iothub", "IoT Hub")
        about = ("aziot-edged-config-well-formed", "aziot-edged configuration is well-formed")
        if settings is None:
            yield findings.bad(
                about, "The IoT Edge module runtime daemon's configuration is not well-formed.", str(problems[0])
            )
        else:
            yield findings.good(about)
        yield self._up_to_date()
        yield self._engine()
        yield findings.ignored(("parent_hostname", "configuration has correct parent_hostname"))
        yield from self._machine(settings, "configuration has correct hostname")
        yield findings.good(("check-agent-image", "Agent image is valid and can be pulled from upstream"))
        yield from self._storage()
        yield self._proxies(settings)
        yield from self._connections(
            settings, "container on the default network", "container-default-connect-upstream", "upstream"
        )
        yield from self._connections(
            settings, "container on the IoT Edge module network", "container-connect-upstream", "upstream"
        )

    def _running(self, settings: Understood | None) -> Iterator[Result]:
        """The helpers are up as soon as somebody asks them, if they have a configuration."""
        for service in ("keyd", "certd", "tpmd", "identityd"):
            about = (f"{service}-running", f"{service} is running")
            if settings is None:
                yield findings.skipped(about)
            else:
                yield findings.good(about)

    def _up_to_date(self) -> Result:
        about = ("config-up-to-date", "configuration up-to-date with config.toml")
        source, applied = self._files.config_file, self._files.applied("edged")
        if not source.exists() or not applied.exists():
            return findings.ignored(about)
        if source.stat().st_mtime_ns > applied.stat().st_mtime_ns:
            return findings.warned(about, findings.STALE)
        return findings.good(about)

    def _proxies(self, settings: Understood | None) -> Result:
        about = (
            "proxy-settings",
            "proxy settings are consistent in aziot-edged, aziot-identityd, moby daemon and config.toml",
        )
        if settings is None:
            return findings.skipped(about)
        units = ("aziot-edged.service", "aziot-identityd.service", "docker.service")
        agent = settings.agent_env.get("https_proxy", "")
        found = [self._environment(unit).get("https_proxy", "") for unit in units]
        if all(proxy == agent for proxy in found):
            return findings.good(about)
        said = [json.dumps(proxy) for proxy in (agent, *found)]
        text = (
            f"The proxy setting for IoT Edge Agent {said[0]}, IoT Edge Daemon {said[1]}, IoT Identity Daemon {said[2]}, "
            f"and Moby {said[3]} may need to be identical."
        )
        return findings.warned(about, text)

    # ---- both

    def _settings(self, as_root: bool) -> tuple[Understood | None, tuple[config.Problem, ...]]:
        """What the daemon would start with, or what it would stumble over."""
        if not as_root and not self._files.aziot:
            text = "Could not open file /etc/iotedge/config.yaml. You might need to run this command as root."
            return None, (_problem(text),)
        try:
            if not self._files.aziot:
                config.load(self._files.config_file.read_bytes(), version=self._version)
            return self._runtime.load(), ()
        except config.InvalidConfigError as exc:
            return None, exc.problems
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with the file is what shall be shown
            return None, (_problem(str(exc)),)

    def _engine(self) -> Result:
        about = ("container-engine-uri", "container engine is installed and functional")
        if self._behavior.engine_down:
            cause = (
                "docker returned exit status: 1, stderr = Cannot connect to the Docker daemon at "
                "unix:///var/run/docker.sock. Is the docker daemon running?"
            )
            return findings.bad(about, findings.NO_ENGINE, cause)
        return findings.good(about)

    def _machine(self, settings: Understood | None, host_name: str) -> Iterator[Result]:
        """What concerns the machine."""
        name = (self._files.root / "etc/hostname").read_text().strip()
        about = ("hostname", host_name)
        if settings is None:
            yield findings.skipped(about)
        elif settings.hostname != name and not settings.hostname.startswith(f"{name}."):
            file = host_name.partition(" ")[0]
            yield findings.bad(about, findings.HOST_NAME.format(file=file, found=settings.hostname, name=name))
        else:
            yield findings.good(about)
        about = ("connect-management-uri", "configuration has correct URIs for daemon mgmt endpoint")
        if self._behavior.engine_down or settings is None:
            yield findings.skipped(about)
        elif not self._files.management_socket.exists():
            command = " ".join(
                [
                    "docker run --rm -v /var/run/iotedge/mgmt.sock:/var/run/iotedge/mgmt.sock",
                    *self._agent_options(settings),
                ]
            )
            yield findings.bad(
                about,
                "Could not execute list-modules request: an error occurred trying to connect",
                f"{command} failed",
            )
        else:
            yield findings.good(about)
        about = ("host-local-time", "host time is close to reference time")
        if self._behavior.no_network:
            text = (
                "Could not query NTP server: failed to lookup address information: Temporary failure in name resolution"
            )
            yield findings.warned(about, text)
        elif abs(self._behavior.clock_skew) > _CLOCK_TOLERANCE:
            yield findings.warned(about, findings.CLOCK)
        else:
            yield findings.good(about)
        yield from self._container_engine()

    def _agent_options(self, settings: Understood) -> list[str]:
        """As the real one quotes the command: with every pair of agent.env, secrets too."""
        return [f"-e {name}={value}" for name, value in settings.agent_env.items()]

    def _container_engine(self) -> Iterator[Result]:
        checks: tuple[tuple[tuple[str, str], str], ...] = (
            (("container-local-time", "container time is close to host time"), ""),
            (("container-engine-dns", "DNS server"), findings.DNS),
            (("container-engine-ipv6", "IPv6 network configuration"), ""),
            (("container-engine-logrotate", "production readiness: logs policy"), findings.LOGS),
        )
        for about, text in checks:
            if self._behavior.engine_down:
                yield findings.skipped(about)
            else:
                yield findings.warned(about, text) if text else findings.good(about)

    def _storage(self) -> Iterator[Result]:
        present = {module.name for module in self._daemon.modules.all()}
        for module, folder in (("edgeAgent", "/tmp/edgeAgent"), ("edgeHub", "/tmp/edgeHub")):  # noqa: S108 - what is said of containers
            name = "Edge Agent" if module == "edgeAgent" else "Edge Hub"
            about = (
                f"edge-{name.lower().split()[1]}-storage-mounted-from-host",
                f"production readiness: {name}'s storage directory is persisted on the host filesystem",
            )
            if self._behavior.engine_down:
                yield findings.skipped(about)
            elif module in present:
                yield findings.warned(about, findings.STORAGE.format(module=module, path=folder))
            else:
                yield findings.bad(
                    about, f"Could not check current state of {module} container", f"No such container: {module}"
                )

    def _connections(self, settings: Understood | None, who: str, prefix: str, whom: str) -> Iterator[Result]:
        hub = settings.device[0] if settings is not None else ""
        for name, (protocol, port) in _PORTS.items():
            about = (f"{prefix}-{name}", f"{who} can connect to and perform TLS handshake with {whom} {protocol} port")
            if not hub or settings is None or (not prefix.startswith("host") and self._behavior.engine_down):
                yield findings.skipped(about)
                continue
            proxy = settings.agent_env.get("https_proxy")
            info = {"iothub_hostname": hub, "port_number": port, "proxy": proxy}
            if self._behavior.no_network:
                first = f"Could not connect to {hub}:{port} : could not resolve hostname"
                cause = "failed to lookup address information: Temporary failure in name resolution"
                yield findings.bad(about, first, cause, info=info)
            else:
                yield findings.good(about, info=info)


def _problem(text: str) -> config.Problem:
    return config.Problem(line=None, severity="error", rule="file", message=text)
