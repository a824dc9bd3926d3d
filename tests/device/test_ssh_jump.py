"""Through a jump host: two of OpenSSH's own sshd."""

import asyncio
import os
import pathlib
import signal
from collections.abc import Callable

import asyncssh
import pytest
from sshd_lab import PATH, Sshd, StartSshd, key, look, private, public

from edgeherd.device.port import (
    AddressNotAllowedError,
    CredentialError,
    DeviceError,
    HostKeyMismatchError,
    JumpHostError,
    Limits,
    LoginRefusedError,
    Query,
    UnreachableError,
)
from edgeherd.device.ssh import SshConnector, connector
from edgeherd_sim.memory import run_here
from waiting import until


@pytest.fixture
def jump(start_sshd: StartSshd) -> Sshd:
    """With keys of its own, for the host and for the user."""
    return start_sshd()


async def test_both_hosts_are_known(sshd: Sshd, jump: Sshd) -> None:
    """Each by its own key; nothing but the way is the jump host's affair."""
    async with SshConnector(run_here).connect(sshd.login(jump=jump.login())) as session:
        assert (await session.observe(Query(path=PATH))).kind == "file"
        assert session.fingerprint == sshd.host_key.get_fingerprint()
        assert session.jump_fingerprint == jump.host_key.get_fingerprint()
    for word in ("auth-agent", "x11-req", "tcpip-forward", "Starting session", "session_open"):
        assert word not in jump.log
    assert "auth-agent" not in sshd.log
    assert "x11-req" not in sshd.log
    assert "direct-tcpip" in jump.log


def _with_jump(**other: object) -> Callable[[Sshd, Sshd], dict[str, object]]:
    return lambda _, jump: {"jump": jump.login(**other)}


BAD_WAYS: dict[str, tuple[Callable[[Sshd, Sshd], dict[str, object]], type[DeviceError], str]] = {
    "another host key": (_with_jump(host_keys=(public(key()),)), HostKeyMismatchError, "presented SHA256:"),
    "another key": (_with_jump(private_key=private(key())), LoginRefusedError, "does not accept this user and key"),
    "no key": (_with_jump(private_key=b"hello"), CredentialError, "the private key"),
    "nobody listens": (_with_jump(port=1), UnreachableError, "the connection was refused"),
    "no such name": (_with_jump(host="no-such-host.invalid"), UnreachableError, ""),
    "outside of the limits": (_with_jump(limits=Limits()), AddressNotAllowedError, "loopback"),
}


@pytest.mark.parametrize("name", BAD_WAYS)
async def test_what_is_wrong_with_the_jump_host_is_said_of_it(sshd: Sshd, jump: Sshd, name: str) -> None:
    """The device hears of nothing."""
    make, error, words = BAD_WAYS[name]
    before = sshd.connections
    with pytest.raises(JumpHostError) as caught:
        await look(sshd.login(**make(sshd, jump)))
    assert isinstance(caught.value.error, error)
    assert words in str(caught.value.error)
    assert sshd.connections == before
    if error is HostKeyMismatchError:
        assert "userauth-request" not in jump.log


@pytest.mark.parametrize(
    ("other", "error", "words"),
    [
        pytest.param(
            {"host_keys": (public(key()),)},
            HostKeyMismatchError,
            "presented SHA256:",
            id="another host key",
        ),
        pytest.param({"private_key": private(key())}, LoginRefusedError, "user and key", id="another key"),
        pytest.param({"port": 1}, UnreachableError, "^the jump host cannot connect to it$", id="down"),
        pytest.param(
            {"host": "no-such-host.invalid", "limits": Limits()},
            UnreachableError,
            "^the jump host cannot connect to it$",
            id="no such name",
        ),
        pytest.param({"limits": Limits()}, AddressNotAllowedError, "loopback", id="outside of the limits"),
        pytest.param({"host": "0x7f.1", "limits": Limits()}, AddressNotAllowedError, "loopback", id="an odd form"),
        pytest.param({"limits": Limits(ports=(22,))}, AddressNotAllowedError, "allowedPorts", id="another port"),
        pytest.param({"host": "localhost"}, AddressNotAllowedError, "allowedCIDRs", id="a local name"),
        pytest.param({"host": "press-01"}, AddressNotAllowedError, "give its address", id="a name"),
    ],
)
async def test_what_is_wrong_with_the_device_is_said_of_the_device(
    sshd: Sshd, jump: Sshd, other: dict[str, object], error: type[DeviceError], words: str
) -> None:
    """No JumpHostError, and no user name before the host key is right."""
    with pytest.raises(error, match=words) as caught:
        await look(sshd.login(jump=jump.login(), **other))
    assert not isinstance(caught.value, JumpHostError)
    if error is HostKeyMismatchError:
        assert "userauth-request" not in sshd.log


@pytest.mark.parametrize(
    "line", ["AllowTcpForwarding no", "AllowTcpForwarding remote", "PermitOpen 10.0.0.1:22", "DisableForwarding yes"]
)
async def test_a_jump_host_that_forwards_nothing(sshd: Sshd, start_sshd: StartSshd, line: str) -> None:
    """The sentence says what to look for."""
    jump = start_sshd(line)
    with pytest.raises(UnreachableError, match="AllowTcpForwarding, PermitOpen"):
        await look(sshd.login(jump=jump.login()))


async def test_sessions_share_one_connection(sshd: Sshd, jump: Sshd) -> None:
    """Opened by the first, closed after the last, and opened again when there is a next."""
    way, before = SshConnector(run_here), jump.connections
    login = sshd.login(jump=jump.login())
    async with asyncio.timeout(60):
        assert await asyncio.gather(*(look(login, way) for _ in range(12))) == ["file"] * 12
    assert jump.connections == before + 1
    assert not way._jump_hosts  # noqa: SLF001 - nothing is kept that nobody uses
    await until(lambda: "Connection closed" in jump.log or "Connection reset" in jump.log)
    await look(login, way)
    assert jump.connections == before + 2


async def test_other_credentials_never_share(sshd: Sshd, jump: Sshd) -> None:
    """Another key, another pin, other limits: another connection."""
    way, before = SshConnector(run_here), jump.connections
    other = key()
    jump.authorize(other)
    hops = [
        jump.login(),
        jump.login(private_key=private(other)),
        jump.login(host_keys=(jump.host_key.get_fingerprint(),)),
        jump.login(limits=Limits(networks=("127.0.0.1/32",))),
    ]
    async with asyncio.timeout(60):
        await asyncio.gather(*(look(sshd.login(jump=hop), way) for hop in hops for _ in range(2)))
    assert jump.connections == before + len(hops)
    # Somebody without the right key gets nowhere while a connection is open that was opened with it.
    async with way.connect(sshd.login(jump=jump.login())):
        with pytest.raises(JumpHostError):
            await look(sshd.login(jump=jump.login(private_key=private(key()))), way)


async def test_users_that_fail_or_go_away_do_not_break_the_others(sshd: Sshd, jump: Sshd) -> None:
    """Cancelled at any moment, refused by the device, or with the wrong key for it."""
    way, before = SshConnector(run_here), jump.connections
    login = sshd.login(jump=jump.login())
    bad = [sshd.login(jump=jump.login(), port=1), sshd.login(jump=jump.login(), host_keys=(public(key()),))]
    async with way.connect(login) as session:
        for delay in (0, 0.001, 0.01, 0.03, 0.1):
            users = [asyncio.create_task(look(one, way)) for one in (login, login, *bad)]
            await asyncio.sleep(delay)
            users[0].cancel()
            results = await asyncio.gather(*users, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError) or results[0] == "file"
            assert results[1] == "file"
            assert isinstance(results[2], UnreachableError)
            assert isinstance(results[3], HostKeyMismatchError)
        assert (await session.observe(Query(path=PATH))).kind == "file"
    assert jump.connections == before + 1


async def test_the_first_user_goes_away_while_the_jump_host_is_called(sshd: Sshd, jump: Sshd) -> None:
    """The second goes on with the same connection; when both go, nothing is left."""
    way, before = SshConnector(run_here), jump.connections
    login = sshd.login(jump=jump.login())
    first, second = (asyncio.create_task(look(login, way)) for _ in range(2))
    await until(lambda: jump.connections > before)
    first.cancel()
    assert await second == "file"
    assert jump.connections == before + 1
    both = [asyncio.create_task(look(login, way)) for _ in range(2)]
    await until(lambda: jump.connections > before + 1)
    for one in both:
        one.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*both, return_exceptions=True))
    assert not way._jump_hosts  # noqa: SLF001 - nothing is kept that nobody uses


async def test_a_jump_host_that_is_down_holds_nobody_up(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """One try is everybody's: twenty devices behind it wait for one deadline, not for twenty."""
    monkeypatch.setattr(connector, "LOGIN_SECONDS", 0.5)
    calls = 0

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(30)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        way, hop = SshConnector(run_here), sshd.login(port=server.sockets[0].getsockname()[1])
        users = [look(sshd.login(jump=hop, user=f"user{number}"), way) for number in range(20)]
        results = await asyncio.gather(*users, return_exceptions=True)
    assert {(type(one), str(one)) for one in results} == {(JumpHostError, "it did not answer in time")}
    assert calls == 1


def _kill_sessions(jump: Sshd) -> None:
    """End the processes that serve the connections of one sshd, as a crash does."""
    listener = next(
        entry
        for entry in pathlib.Path("/proc").iterdir()
        if entry.name.isdigit() and str(jump.folder / "config") in _command(entry)
    )
    for child in (listener / f"task/{listener.name}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


def _command(entry: pathlib.Path) -> str:
    try:
        return (entry / "cmdline").read_text()
    except OSError:
        return ""


async def test_a_connection_that_broke_is_opened_again(sshd: Sshd, jump: Sshd) -> None:
    """Those that used it are told that it was the jump host; the next one finds a new one, while they are still there."""
    way, before = SshConnector(run_here), jump.connections
    login = sshd.login(jump=jump.login())

    async def look_twice() -> None:
        async with way.connect(login) as session:
            await session.observe(Query(path=PATH))
            _kill_sessions(jump)
            await asyncio.sleep(0.2)
            assert await look(login, way) == "file"
            await session.observe(Query(path=PATH))

    with pytest.raises(JumpHostError) as caught:
        await look_twice()
    assert isinstance(caught.value.error, UnreachableError)
    assert jump.connections == before + 2
    assert not way._jump_hosts  # noqa: SLF001 - nothing is kept that nobody uses


def _open_files() -> int:
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


async def test_no_connection_outlives_its_session(sshd: Sshd, jump: Sshd) -> None:
    """Neither end is left open."""
    await look(sshd.login(jump=jump.login()))
    tasks, files = len(asyncio.all_tasks()), _open_files()
    for _ in range(3):
        await look(sshd.login(jump=jump.login()))
        with pytest.raises(HostKeyMismatchError):
            await look(sshd.login(jump=jump.login(), host_keys=(public(key()),)))
    await until(lambda: len(asyncio.all_tasks()) <= tasks and _open_files() <= files)


async def test_the_password_of_one_host_is_never_sent_to_the_other(sshd: Sshd) -> None:
    """What a jump host is told is its own login."""
    heard: list[str] = []

    class Jump(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            heard.append(f"{username} {password}")
            return True

        def connection_requested(self, *_: object) -> bool:
            return True

    host_key = key()
    async with asyncssh.listen("127.0.0.1", 0, server_factory=Jump, server_host_keys=[host_key]) as acceptor:
        hop = sshd.login(
            port=acceptor.get_port(),
            user="hopper",
            password="for the jump",
            private_key=b"",
            host_keys=(public(host_key),),
        )
        assert await look(sshd.login(jump=hop, password="for the device")) == "file"
    assert heard == ["hopper for the jump"]
