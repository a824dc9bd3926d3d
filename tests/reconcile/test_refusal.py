"""Before an edit is blamed for what the daemon refuses, it is asked whether the file was right before."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from edgeherd import config
from edgeherd.device.facts import Facts, Unit
from edgeherd.reconcile import refusal
from edgeherd.reconcile.config_editor import ConfigEditor
from edgeherd.worker import WorkerError

TOML = "/etc/aziot/config.toml"
V15 = config.Version.parse("1.5.44")
GOOD = (
    '[provisioning]\nsource = "manual"\nconnection_string = '
    '"HostName=northmill.azure-devices.net;DeviceId=press-07;SharedAccessKey=bm90LWEtcmVhbC1rZXk="\n'
)
BLAMED = (
    f"The daemon refuses the new configuration; {TOML} was put back as it was, and this is not tried again. "
    "Change the spec or the file."
)
RUNS = Unit(active_state="active")
ENDED = Unit(name="aziot-edged.service", active_state="failed", exec_main_status=153)


async def here(function: Callable[..., Any], *arguments: Any) -> Any:
    """No worker: the file is judged in the test's own process."""
    return function(*arguments)


async def lost(*_: Any) -> Any:
    """A worker that was killed over it."""
    raise WorkerError("it took longer than 10 s, or its process was killed")


def facts(content: bytes | None, unit: Unit = RUNS) -> Facts:
    """A device as it was before the change."""
    return Facts(version="1.5.44", path=TOML, kind="file", mode="", content=content, unit=unit, modules=())


@pytest.mark.parametrize(
    ("before", "changed", "said"),
    [
        pytest.param(facts(GOOD.encode()), True, BLAMED, id="a file that was right"),
        pytest.param(facts(None), True, BLAMED, id="no file at all"),
        pytest.param(facts(b"# [provisioning]\n", ENDED), True, BLAMED, id="a file that was never filled in"),
        pytest.param(
            facts(GOOD.encode(), ENDED),
            True,
            f"The daemon refuses {TOML} with the change and had refused it without (exit status 153), so the fault is in the file. "
            "It was put back as it was; look at the daemon's log on the device, and fix the file.",
            id="a file over which the daemon had ended",
        ),
        pytest.param(
            facts(f'additional_info = "file:///etc/aziot/more.toml"\n{GOOD}'.encode()),
            True,
            f"{BLAMED} One thing in the file cannot be judged from here; look at it first: line 1: additional_info names a file on "
            "the device, which has to be there and in order.",
            id="a file that hangs on another",
        ),
        pytest.param(
            facts(GOOD.encode()),
            False,
            f"The daemon refuses {TOML} as it is; nothing in it had to be changed, so the fault is not in what the spec asks for. "
            "Look at the daemon's log on the device, and fix the file.",
            id="a file that was not changed",
        ),
    ],
)  # fmt: skip
async def test_whose_fault_it_is(before: Facts, *, changed: bool, said: str) -> None:
    """One sentence, with what to do."""
    assert await refusal.told(ConfigEditor(here), before, V15, changed=changed) == said


async def test_a_file_that_could_not_be_judged_blames_nobody_else() -> None:
    """The plain sentence."""
    assert await refusal.told(ConfigEditor(lost), dataclasses.replace(facts(b"x")), V15, changed=True) == BLAMED
