"""What costs much is done once: counted, not timed."""

import asyncio
import base64
import collections
import hmac
import ipaddress
import socket
from collections.abc import Callable

import asyncssh
import pytest
from sshd_lab import LOOPBACK, PASSPHRASE, PATH, Sshd, StartSshd, key, look, private, public

from edgeherd.device.facts import Facts
from edgeherd.device.port import Action, Change, CredentialError, Limits, Query, Result, UnreachableError
from edgeherd.device.ssh import SshConnector, keys
from edgeherd.device.ssh import connector as ssh_connector
from edgeherd.worker import WorkerError
from edgeherd_sim.memory import run_here

Calls = collections.Counter[str]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """How often something was called."""
    counted: Calls = collections.Counter()

    def count(where: object, name: str) -> None:
        real = getattr(where, name)

        def counting(*arguments: object, **options: object) -> object:
            counted[name] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(where, name, counting)

    count(keys, "private_key")
    count(keys, "known_hosts")
    count(socket, "getaddrinfo")
    count(asyncssh.SSHClientConnection, "create_session")
    count(asyncssh.SSHClientConnection, "create_connection")
    count(hmac, "new")
    return counted


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda client: {"private_key": private(client)}, id="RSA"),
        pytest.param(
            lambda client: {"private_key": private(client, PASSPHRASE), "passphrase": PASSPHRASE},
            id="with a passphrase",
        ),
    ],
)
async def test_a_key_is_read_once(
    sshd: Sshd, calls: Calls, make: Callable[[asyncssh.SSHKey], dict[str, object]]
) -> None:
    """By all passes over all devices that have it, at once and one after another."""
    client = key("ssh-rsa")
    sshd.authorize(client)
    credentials = make(client)
    content = credentials.pop("private_key")
    assert isinstance(content, bytes)
    connector = SshConnector(run_here)

    async def once() -> str:
        return await look(sshd.login(private_key=bytes(bytearray(content)), **credentials), connector)

    await asyncio.gather(*(once() for _ in range(4)))
    await once()
    assert calls["private_key"] == 1


async def test_a_key_that_cannot_be_read_is_tried_again(sshd: Sshd, calls: Calls) -> None:
    """Its passphrase may be right the next time; a failure is nobody else's."""
    content, connector = private(sshd.client_key, PASSPHRASE), SshConnector(run_here)
    for _ in range(2):
        with pytest.raises(CredentialError):
            await look(sshd.login(private_key=content, passphrase="guess"), connector)
    assert await look(sshd.login(private_key=content, passphrase=PASSPHRASE), connector) == "file"
    assert calls["private_key"] == 3


def _hashed(host: str, line: str) -> str:
    salt = host.encode().ljust(20)[:20]
    digest = hmac.digest(salt, host.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()} {line}\n"


@pytest.mark.parametrize("hashed", [False, True])
async def test_a_long_known_hosts_is_read_once(sshd: Sshd, calls: Calls, hashed: bool) -> None:
    """5,000 lines; and what is in it for a host is looked for once, for each line may be a hash to try."""
    stranger, right = public(key()), public(sshd.host_key)
    lines = [f"[10.0.{number // 250}.{number % 250}]:2222" for number in range(5_000)]
    text = "".join(_hashed(line, stranger) if hashed else f"{line} {stranger}\n" for line in lines)
    ours = f"[{sshd.host}]:{sshd.port}"
    text += _hashed(ours, right) if hashed else f"{ours} {right}\n"
    connector = SshConnector(run_here)
    await look(sshd.login(host_keys=(), known_hosts=text), connector)
    first = calls["new"]
    for _ in range(3):
        await look(sshd.login(host_keys=(), known_hosts="".join(text)), connector)
    assert calls["known_hosts"] == 1
    assert calls["new"] == first


async def test_a_key_that_takes_for_ever_to_read(sshd: Sshd) -> None:
    """Holds up nobody whose key is known."""
    release = asyncio.Event()

    async def run(function: Callable[..., object], *arguments: object) -> object:
        if arguments[0] != sshd.login().private_key:
            await release.wait()
            raise WorkerError("it took longer than 20 s")
        return await run_here(function, *arguments)

    connector = SshConnector(run)
    assert await look(sshd.login(), connector) == "file"
    slow_ones = [asyncio.create_task(look(sshd.login(private_key=private(key())), connector)) for _ in range(12)]
    assert await look(sshd.login(), connector) == "file"
    release.set()
    results = await asyncio.gather(*slow_ones, return_exceptions=True)
    assert {str(one) for one in results} == {"the private key could not be read: it took longer than 20 s"}


async def test_no_packet_is_sent_that_says_nothing(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one before each is what asyncssh would send: half of all packets."""
    kinds: Calls = collections.Counter()
    real = asyncssh.SSHClientConnection.send_packet

    def counting(self: asyncssh.SSHClientConnection, kind: int, *parts: bytes, **options: object) -> None:
        kinds[str(kind)] += 1
        real(self, kind, *parts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncssh.SSHClientConnection, "send_packet", counting)
    assert await look(sshd.login()) == "file"
    assert kinds["2"] == 0
    assert kinds.total() <= 14


async def test_one_command_for_a_look_and_one_for_a_change(sshd: Sshd, calls: Calls) -> None:
    """On one connection."""
    before = sshd.connections
    async with SshConnector(run_here).connect(sshd.login()) as session:
        facts = await session.observe(Query(path=PATH, others=("/etc/a", "/etc/b")))
        assert calls["create_session"] == 1
        assert await session.apply(_change(facts)) is Result.APPLIED
        assert calls["create_session"] == 2
    assert sshd.connections == before + 1
    assert sshd.log.count("Starting session: command") == 2


def _change(facts: Facts) -> Change:
    return Change(path=PATH, before=facts.sha256, content=b"new: 1\n", unit="iotedge.service", action=Action.NONE)


async def test_a_name_is_looked_up_once(sshd: Sshd, calls: Calls) -> None:
    """A second answer might be another one; an address is not looked up at all."""
    await look(sshd.login())
    assert calls["getaddrinfo"] == 0
    await look(sshd.login(host="localhost"))
    assert calls["getaddrinfo"] == 1
    await SshConnector(run_here).host_key(sshd.login(host="localhost"))
    assert calls["getaddrinfo"] == 2


def _resolves(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [(families[ipaddress.ip_address(one).version], 1, 6, "", (one, 0)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_of_a_names_addresses_those_are_tried_that_are_allowed(
    start_sshd: StartSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, until one answers."""
    one, two = start_sshd(host="127.0.0.1"), start_sshd(host="127.0.0.2")
    _resolves(monkeypatch, "169.254.169.254", "127.0.0.1", "127.0.0.2")
    only = Limits(networks=("127.0.0.2/32",))
    assert await look(two.login(host="press-01", limits=only)) == "file"
    assert await look(two.login(host="press-01", limits=LOOPBACK)) == "file"  # the first one refuses the port
    assert one.connections == 0


async def test_a_name_with_many_addresses_does_not_take_for_ever(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever serves the name could list thousands that all are silent."""
    _resolves(monkeypatch, *(f"127.0.1.{number}" for number in range(1, 200)))
    tried: list[str] = []
    real = asyncssh.create_connection

    async def counting(factory: object, host: str, *rest: object, **options: object) -> object:
        tried.append(host)
        return await real(factory, host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncssh, "create_connection", counting)
    with pytest.raises(UnreachableError):
        await look(sshd.login(host="press-01", port=1))
    assert tried == [f"127.0.1.{number}" for number in range(1, 1 + ssh_connector.ADDRESSES)]


async def test_a_name_server_that_hangs_is_not_waited_for(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """And other devices are reached meanwhile, by their addresses and by their names."""
    released = asyncio.Event()
    loop, real = asyncio.get_running_loop(), socket.getaddrinfo

    def hangs(host: str, *rest: object, **options: object) -> object:
        if host == "hangs":
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        return real(host, *rest, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr(ssh_connector, "CONNECT_SECONDS", 2.0)
    waiting = [asyncio.create_task(look(sshd.login(host="hangs"))) for _ in range(16)]
    await asyncio.sleep(0.1)
    assert await look(sshd.login()) == "file"
    assert await look(sshd.login(host="localhost")) == "file"
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(one) for one in results} == {"its name could not be looked up in time"}
    released.set()
    await asyncio.sleep(0.1)
