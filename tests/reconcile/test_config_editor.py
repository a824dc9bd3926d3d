"""The daemon's file is judged in a worker, and once for the same file and the same wishes."""

from collections.abc import Callable

import pytest
from memory_lab import YAML_PATH, Lab, fresh

from edgeherd import config
from edgeherd.reconcile import config_editor
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.worker import WorkerError, Workers
from edgeherd_sim.devices import filesystem
from edgeherd_sim.memory import run_here

V = config.Version.parse("1.1.15")
WANTED = config.Wanted(connection_string="HostName=h;DeviceId=d;SharedAccessKey=QQ==", hostname="press-01")


class Counting:
    """Runs work here, and counts it."""

    def __init__(self) -> None:
        self.times = 0

    async def run(self, function: Callable[..., object], *arguments: object) -> object:
        """See `Run`."""
        self.times += 1
        return await run_here(function, *arguments)


async def test_a_verdict_is_remembered() -> None:
    """Also that of a file that stays as it is, and a refusal; another wish or another byte asks anew."""
    counting = Counting()
    editor = ConfigEditor(counting.run)
    before = filesystem.default_config()
    expected = config.edit(before, WANTED, version=V)
    for _ in range(2):
        assert await editor.edit(before, WANTED, version=V) == expected
        right = await editor.edit(expected.content, WANTED, version=V)
        assert right == config.edit(expected.content, WANTED, version=V)
        with pytest.raises(config.UneditableError, match="larger than 256 KiB"):
            await editor.edit(b"#" * 400_000, WANTED, version=V)
    assert counting.times == 3
    await editor.edit(expected.content, config.Wanted(hostname="other"), version=V)
    await editor.edit(before + b"\n", WANTED, version=V)
    assert counting.times == 5


async def test_the_file_is_judged_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here there is no editor at all, so the event loop cannot be held up by one."""
    before, expected = filesystem.default_config(), config.edit(filesystem.default_config(), WANTED, version=V)
    for name in ("edit", "load", "deprovision"):
        monkeypatch.setattr(config, name, None)
    editor = ConfigEditor(Workers(processes=1, seconds=config_editor.SECONDS).run)
    assert await editor.edit(before, WANTED, version=V) == expected
    assert await editor.retire(expected.content, "other", "h", version=V) is None
    retired = await editor.retire(expected.content, "d", "h", version=V)
    assert retired is not None
    assert b"<ADD DEVICE CONNECTION STRING HERE>" in retired.content


async def _killed(*_: object) -> object:
    raise WorkerError("it took longer than 10 s, or its process was killed")


async def test_a_file_that_is_not_judged_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left alone; the condition says so, and it is looked at again."""
    lab = Lab(fresh())
    monkeypatch.setattr(lab.dependencies.editor, "_run", _killed)
    requeue = await lab.reconcile()
    said = lab.condition("ConfigApplied")
    assert (said.status, said.reason, said.message) == (
        "False",
        "ConfigNotEditable",
        (
            f"{YAML_PATH} could not be judged, and was left as it is: it took longer than 10 s, or its process was killed. "
            "If this stays so, make the file simpler."
        ),
    )
    assert requeue is not None
    assert requeue.after > 200


async def test_a_deletion_does_not_wait_for_a_file_that_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its configuration, and the Event says so."""
    lab = Lab(fresh())
    await lab.until_ready()
    monkeypatch.setattr(lab.dependencies.editor, "_run", _killed)
    lab.delete()
    await lab.reconcile()
    assert lab.events[-2:] == ["DeviceCleanupSkipped", "IdentityReleased"]
