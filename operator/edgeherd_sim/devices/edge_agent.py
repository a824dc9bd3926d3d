"""A stand-in for edgeAgent: what it makes of the desired properties that a deployment gave it, and what it reports."""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import Any

from edgeherd import config
from edgeherd_sim.devices.behavior import Behavior, Pace
from edgeherd_sim.devices.hubdoor import DeploymentHub, Hub
from edgeherd_sim.devices.modules import Modules

AGENT = "edgeAgent"
_SCHEMA = re.compile(r"[0-9]+(\.[0-9]+){1,3}")
_SCHEMA_1 = re.compile(r"1\.[01]")


class EdgeAgent:
    """Follows its twin from when it is connected until it leaves."""

    def __init__(self, *, hub: Hub, modules: Modules, version: config.Version, behavior: Behavior, pace: Pace) -> None:
        self._hub = hub
        self._modules = modules
        self._version = version
        self._behavior = behavior
        self._pace = pace
        self._task: asyncio.Task[None] | None = None

    def connected(self, host_name: str, device_id: str) -> None:
        """The container runs, and the hub let it in."""
        if isinstance(self._hub, DeploymentHub) and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._follow(self._hub, host_name, device_id))
            self._task.add_done_callback(_report)

    def left(self) -> None:
        """The container ended."""
        if self._task is not None:
            self._task.cancel()

    async def gone(self) -> None:
        """The same, and nothing of it is under way any more."""
        self.left()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, hub: DeploymentHub, host_name: str, device_id: str) -> None:
        changed = asyncio.Event()
        with hub.follow(host_name, device_id, changed.set):
            while True:
                changed.clear()
                twin = await hub.agent_twin(host_name, device_id)
                if twin is not None and await self._settle(hub, host_name, device_id, twin):
                    await changed.wait()
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.heartbeat):
                        await changed.wait()

    async def _settle(self, hub: DeploymentHub, host_name: str, device_id: str, twin: Mapping[str, Any]) -> bool:
        """Carry out what is desired and report it; whether the hub knows now."""
        desired, before = twin["desired"], twin["reported"]
        status, images = _judged(desired)
        if images and self._behavior.module_image_pull_fails:
            status = _status(500, "Failed to pull an image of the deployment.")
        elif status["code"] == 200:
            self._modules.settle(images, besides=AGENT)
        report = self._reported(desired, status)
        said = {name: value for name, value in before.items() if not name.startswith("$")}
        if report == said:
            return True
        for part in ("systemModules", "modules"):
            report[part] = {**dict.fromkeys(said.get(part, {})), **report[part]}
        return await hub.agent_reports(host_name, device_id, report)

    def _reported(self, desired: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
        """As edgeAgent's IoTHubReporter writes it, but for times."""
        found = {
            module.name: {
                "type": "docker",
                "runtimeStatus": module.status,
                "exitCode": 0,
                "settings": {"image": module.image},
            }
            for module in self._modules.all()
        }
        system = {name: found.pop(name) for name in (AGENT, "edgeHub") if name in found}
        return {
            "schemaVersion": "1.1",
            "version": {"version": str(self._version)},
            "lastDesiredVersion": desired["$version"],
            "lastDesiredStatus": status,
            "runtime": {"type": "docker", "platform": {"os": "linux", "architecture": "x86_64"}},
            "systemModules": system,
            "modules": found,
        }


def _judged(desired: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What edgeAgent says of a deployment, by its own checks and words (EdgeAgentConnection.cs), and what shall run."""
    wanted = {name: value for name, value in desired.items() if not name.startswith("$")}
    if not wanted:
        words = "This device has an empty configuration for the edge agent. Please set a deployment manifest."
        return _status(417, words), {}
    schema = str(wanted.get("schemaVersion", ""))
    if not _SCHEMA.fullmatch(schema):
        return _status(412, f"Invalid desired properties schema version {schema}"), {}
    if not _SCHEMA_1.fullmatch(schema):
        words = f"The desired properties schema version {schema} is not compatible with the expected version 1.1"
        return _status(412, words), {}
    try:
        modules = {"edgeHub": wanted["systemModules"]["edgeHub"], **(wanted.get("modules") or {})}
        images = {name: str(module["settings"]["image"]) for name, module in modules.items() if _runs(module)}
        runtime = wanted["runtime"]["type"]
    except (KeyError, TypeError, AttributeError):
        runtime = images = None
    if not runtime or images is None:
        return _status(400, "Agent configuration format is invalid."), {}
    return _status(200, ""), images


def _status(code: int, description: str) -> dict[str, Any]:
    return {"code": code, "description": description}


def _runs(module: Mapping[str, Any]) -> bool:
    return bool(module.get("status", "running") == "running")


def _report(task: asyncio.Task[None]) -> None:
    """One that ends by an exception is a bug of the simulator: say so."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "edgeAgent's stand-in failed", "exception": error})
