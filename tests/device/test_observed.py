"""What is heard of sessions: how long each stage took, and restarts. What they do is not changed by it."""

import pytest

from edgeherd.device.observed import observed
from edgeherd.device.port import (
    ABSENT,
    Action,
    Change,
    DeviceError,
    Initialization,
    Login,
    LoginRefusedError,
    Query,
    Result,
    UnreachableError,
)
from edgeherd_sim.memory import MemoryDevice, MemoryNetwork

LOGIN = Login(host="h", port=22, user="u")


class Heard(list[str]):
    """An observer."""

    def ssh(self, stage: str, seconds: float, *, succeeded: bool) -> None:
        """See `Observer`."""
        assert 0 <= seconds < 60
        self.append(f"{stage} {'ok' if succeeded else 'failed'}")

    def restarted(self) -> None:
        """See `Observer`."""
        self.append("restarted")


def change(action: Action = Action.RESTART) -> Change:
    """One that removes nothing and adds a file."""
    return Change(path="/etc/iotedge/config.yaml", before=ABSENT, content=b"x", unit="iotedge", action=action)


async def test_each_stage_is_timed() -> None:
    """And each call goes through to the session, with its answer."""
    heard, network = Heard(), MemoryNetwork(MemoryDevice(check_text="{}"))
    async with observed(network.connect, heard)(LOGIN) as session:
        facts = await session.observe(Query())
        assert facts == await network.device.observe(Query())
        assert (await session.check(), await session.apply(change())) == ("{}", Result.APPLIED)
        found = (session.fingerprint, session.jump_fingerprint)
        assert found == (network.device.fingerprint, network.device.jump_fingerprint)
    assert heard == ["connect ok", "look ok", "check ok", "apply ok", "restarted"]


async def test_a_connection_that_fails() -> None:
    """There is no session, and the error is the same."""
    heard, network = Heard(), MemoryNetwork()
    network.error = LoginRefusedError("no")
    with pytest.raises(LoginRefusedError) as caught:
        async with observed(network.connect, heard)(LOGIN):
            pass
    assert (caught.value, heard) == (network.error, ["connect failed"])


@pytest.mark.parametrize(
    ("answer", "action", "expected"),
    [
        pytest.param(Result.REFUSED, Action.RESTART, ["apply ok", "restarted"], id="refused after a restart"),
        pytest.param(Result.CHANGED, Action.RESTART, ["apply ok"], id="somebody else was faster"),
        pytest.param(Result.APPLIED, Action.CONFIG_APPLY, ["apply ok", "restarted"], id="config apply"),
        pytest.param(Result.APPLIED, Action.RETIRE, ["apply ok", "restarted"], id="let go"),
        pytest.param(Result.APPLIED, Action.NONE, ["apply ok"], id="without an action"),
        pytest.param(UnreachableError("it broke"), Action.RESTART, ["apply failed"], id="it broke"),
    ],
)
async def test_what_is_a_restart(answer: Result | DeviceError, action: Action, expected: list[str]) -> None:
    """By what the device says; of a change whose answer was lost it is not known."""
    heard, network = Heard(), MemoryNetwork(MemoryDevice(answers=[answer]))
    async with observed(network.connect, heard)(LOGIN) as session:
        if isinstance(answer, DeviceError):
            with pytest.raises(type(answer)):
                await session.apply(change(action))
        else:
            assert await session.apply(change(action)) is answer
    assert heard[1:] == expected


@pytest.mark.parametrize(("answer", "restarts"), [(Result.APPLIED, 1), (Result.CHANGED, 0)])
async def test_an_initialization_starts_the_daemon(answer: Result, restarts: int) -> None:
    """Once."""
    heard, network = Heard(), MemoryNetwork(MemoryDevice(answers=[answer]))
    async with observed(network.connect, heard)(LOGIN) as session:
        wanted = Initialization(connection_string="x", container_os="Linux")
        assert await session.initialize(wanted) is answer
    assert heard[1:] == ["apply ok"] + ["restarted"] * restarts
