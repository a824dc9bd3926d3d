"""A login that is refused is not tried again at once: servers shut out who does."""

import dataclasses
from typing import Any

import pytest
from memory_lab import Time, connection, edge_device

from edgeherd.device.port import (
    DeviceError,
    JumpHostError,
    Login,
    LoginRefusedError,
    TurnedAwayError,
    UnreachableError,
)
from edgeherd.reconcile import refused_logins
from edgeherd.reconcile.refused_logins import RefusedLogins
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd_sim.memory import MemoryCluster, MemoryNetwork

KEY = "ssh-ed25519 AAAA"
REFUSED, AWAY = LoginRefusedError("it does not accept this user and key"), TurnedAwayError("closed")


def _unheard(reason: str, message: str) -> None:
    """No Event matters here."""


def target(host: str, secret: str, **more: Any) -> dict[str, Any]:
    """A host with its login."""
    return {"host": host, "user": "u", "credentialsSecretRef": {"name": secret}, "hostKeys": [KEY], **more}


class Plant:
    """Devices behind one jump host."""

    def __init__(self) -> None:
        self.time = Time()
        self.cluster, self.network = MemoryCluster(), MemoryNetwork()
        self.network.keys = {f"press-{number}": KEY for number in range(99)}
        self.logins = SshLogins(
            self.cluster, connect=self.network.connect, host_key=self.network.host_key, clock=self.time.clock
        )
        for name in ("ssh", "jump", "other"):
            self.put_secret(name, name)

    def put_secret(self, name: str, key: str) -> None:
        """Somebody puts another key in."""
        self.cluster.put_secret("plant-a", name, {"ssh-privatekey": key.encode()}, type_="kubernetes.io/ssh-auth")

    async def look(self, number: int = 0, *, jump: str | None = "jump", host: str = "gateway", **more: Any) -> str:
        """Log in at a device; what came of it."""
        ssh = target(f"press-{number}", "ssh", **more)
        if jump is not None:
            ssh["jumpHost"] = target(host, jump)
        try:
            async with self.logins.session(edge_device(ssh=ssh), connection(), tell=_unheard):
                return "in"
        except DeviceError as exc:
            cause = exc.error if isinstance(exc, JumpHostError) else exc
            return f"{'jump ' if cause is not exc else ''}{type(cause).__name__}"

    @property
    def attempts(self) -> int:
        """How often somebody tried to connect."""
        return len(self.network.logins)


@pytest.fixture
def plant() -> Plant:
    """Where the jump host refuses everybody."""
    plant = Plant()
    plant.network.error = JumpHostError(REFUSED)
    return plant


async def test_one_device_tries_for_all_that_are_behind_the_same_jump_host(plant: Plant) -> None:
    """All say the same, with the same words, so that no status changes."""
    said = [await plant.look(number) for number in range(20)]
    assert (set(said), plant.attempts) == ({"jump LoginRefusedError"}, 1)


async def test_a_minute_later_one_tries_again(plant: Plant) -> None:
    """Five seconds of penalty in a minute shut nobody out."""
    for minute in range(1, 6):
        for number in range(20):
            await plant.look(number)
            plant.time.wait(60 / 20)
        assert plant.attempts == minute


async def test_who_gets_in_lets_all_others_in(plant: Plant) -> None:
    """The jump host has the key now."""
    await plant.look(1)
    plant.network.error = None
    assert await plant.look(2) == "jump LoginRefusedError"
    plant.time.wait(refused_logins.HELD_SECONDS)
    assert [await plant.look(number) for number in range(3)] == ["in", "in", "in"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"jump": "other"}, id="another Secret"),
        pytest.param({"host": "other-gateway"}, id="another jump host"),
        pytest.param({"jump": None}, id="no jump host"),
    ],
)
async def test_another_login_is_another_story(plant: Plant, other: dict[str, Any]) -> None:
    """It is tried at once."""
    await plant.look(1)
    plant.network.error = None
    assert await plant.look(2, **other) == "in"


async def test_a_secret_that_was_fixed_is_tried_at_once(plant: Plant) -> None:
    """Its content counts, not its name."""
    await plant.look(1)
    plant.network.error = None
    plant.put_secret("jump", "right")
    assert await plant.look(2) == "in"


async def test_first_use_asks_no_jump_host_that_refuses(plant: Plant) -> None:
    """The device's host key is fetched through it, with a login there."""
    trusting = {"hostKeys": [], "hostKeyPolicy": "TrustOnFirstUse"}
    assert await plant.look(1, **trusting) == "jump LoginRefusedError"
    assert await plant.look(2, **trusting) == "jump LoginRefusedError"
    assert plant.network.steps.taken == ["ask press-1"]


@pytest.mark.parametrize(
    "error",
    [UnreachableError("no route"), JumpHostError(UnreachableError("no route")), JumpHostError(AWAY), REFUSED],
    ids=repr,
)
async def test_other_trouble_holds_nobody_back(plant: Plant, error: DeviceError) -> None:
    """Each device tries, also after its own refusal: it is another server for each."""
    plant.network.error = error
    for number in range(5):
        await plant.look(number)
    await plant.look(0)
    assert plant.attempts == 6


@pytest.mark.parametrize("jump", ["jump", None])
async def test_who_is_turned_away_after_a_refusal_was_refused(plant: Plant, jump: str | None) -> None:
    """OpenSSH 9.8 and later close connections then; that is not another trouble, for as long as they may do it."""
    plant.network.error = JumpHostError(REFUSED) if jump else REFUSED
    first = await plant.look(jump=jump)
    plant.network.error = JumpHostError(AWAY) if jump else AWAY
    for _ in range(9):
        plant.time.wait(61)
        assert await plant.look(jump=jump) == first
    plant.time.wait(61)
    assert await plant.look(jump=jump) == first.replace("LoginRefused", "TurnedAway")


async def test_who_was_in_since_is_only_turned_away(plant: Plant) -> None:
    """Then it is about the number of connections."""
    plant.network.error = REFUSED
    await plant.look(jump=None)
    plant.network.error = None
    await plant.look(jump=None)
    plant.network.error = AWAY
    assert await plant.look(jump=None) == "TurnedAwayError"


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest refusal is forgotten; and nothing of a Secret is kept."""
    monkeypatch.setattr(refused_logins, "MOST", 3)
    refused = RefusedLogins(Time().clock)
    jump = Login(host="gateway", port=22, user="u", private_key=b"PRIVATE", password="hush")
    for number in range(5):
        login = Login(host="press", port=22, user="u", jump=dataclasses.replace(jump, port=number))
        with pytest.raises(JumpHostError), refused.attempt(login):
            raise JumpHostError(REFUSED)
    held = []
    for number in range(5):
        login = Login(host="press", port=22, user="u", jump=dataclasses.replace(jump, port=number))
        with pytest.raises(DeviceError) as caught, refused.attempt(login):
            raise UnreachableError("x")
        held.append(isinstance(caught.value, JumpHostError))
    assert held == [False, False, True, True, True]
    assert not [word for word in ("PRIVATE", "hush") if word in repr(vars(refused))]
