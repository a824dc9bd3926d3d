"""The last link: whether the daemon is healthy. Pure."""

from edgeherd.device.facts import Facts
from edgeherd.errors import Stalled, Waiting

BAD_SETTINGS = 153
"""The daemon's exit status for settings that it cannot load (iotedged/src/error.rs, 1.0.10 and later)."""


def judge_daemon(facts: Facts) -> None:
    """Whether the daemon is healthy: its unit is active and stable, and edgeAgent runs.

    Raises:
        Waiting: not yet.
        Stalled: only a human can mend it.
    """
    unit = facts.unit
    if unit.load_state == "not-found":
        raise Stalled("DaemonMissing", "The device has no unit 'iotedge.service'. Reinstall the runtime.")
    if unit.active_state == "failed" and unit.exec_main_status == BAD_SETTINGS:
        message = f"The daemon cannot load its settings (exit {BAD_SETTINGS}). Run 'iotedge check' on the device."
        raise Waiting("DaemonRefusesConfig", message, retry_after=10)
    if unit.active_state != "active" or unit.sub_state != "running":
        state = f"{unit.active_state or 'unknown'}/{unit.sub_state or 'unknown'}"
        message = f"The daemon is {state} (exit {unit.exec_main_status}). See 'journalctl -u iotedge' on the device."
        raise Waiting("DaemonNotRunning", message, retry_after=5)
    agent = next((module for module in facts.modules if module.name == "edgeAgent"), None)
    if agent is None:
        message = (
            "The daemon runs, but edgeAgent has not appeared. The hub may refuse the key, or the image cannot be pulled: "
            "see 'journalctl -u iotedge' on the device."
        )
        raise Waiting("EdgeAgentMissing", message, retry_after=3)
    if agent.status != "running":
        raise Waiting(
            "EdgeAgentNotRunning", f"edgeAgent is '{agent.status}'. See 'iotedge logs edgeAgent'.", retry_after=5
        )
