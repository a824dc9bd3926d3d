"""Whose fault it is when the daemon refuses its file: the change's, or was it wrong before? That is asked before anything is said."""

from edgeherd import config
from edgeherd.device.facts import Facts
from edgeherd.reconcile import errors
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.worker import WorkerError

SETTINGS_REFUSED = 153
"""The exit status of a daemon that cannot load its settings."""


async def told(editor: ConfigEditor, facts: Facts, version: config.Version, *, changed: bool) -> str:
    """The sentence for people; `facts` are of before, and `changed` says whether the daemon's file was changed at all."""
    if not changed:
        return (
            f"The daemon refuses {facts.path} as it is; nothing in it had to be changed, so the fault is not in what the spec asks "
            "for. Look at the daemon's log on the device, and fix the file."
        )
    refused = errors.REFUSED.format(path=facts.path)
    if facts.content is None:
        return refused
    try:
        verdict = await editor.check(facts.content, version=version)
    except WorkerError:
        return refused
    if verdict.valid is not False and _had_refused(facts):
        return (
            f"The daemon refuses {facts.path} with the change and had refused it without (exit status {SETTINGS_REFUSED}), so the "
            "fault is in the file. It was put back as it was; look at the daemon's log on the device, and fix the file."
        )
    unjudged = next((problem for problem in verdict.problems if problem.severity == "unjudged"), None)
    if unjudged is not None:
        return f"{refused} One thing in the file cannot be judged from here; look at it first: {unjudged}"
    return refused


def _had_refused(facts: Facts) -> bool:
    """Whether the daemon had ended over its settings when it was looked at."""
    return facts.unit.active_state == "failed" and facts.unit.exec_main_status == SETTINGS_REFUSED
