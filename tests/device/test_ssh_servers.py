"""One whole pass at each SSH server, and by each way to become root, of four releases of Debian; see userlands.py.

The device is a simulated one; its shell, its tools, sshd or dropbear, and sudo, sudo-rs or doas are those of the release.
"""

import contextlib
import dataclasses
import pathlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator

import build
import pytest
import userlands
from dropbear_lab import free_port, listens
from sshd_lab import PATH, Sshd, key, private

import processes
from edgeherd.device.facts import Facts
from edgeherd.device.port import (
    Action,
    Change,
    Login,
    LoginRefusedError,
    Query,
    Result,
    SudoRefusedError,
    TurnedAwayError,
)
from edgeherd.device.ssh import SshConnector
from edgeherd_sim.devices.daemon import Pace
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import Answer
from edgeherd_sim.devices.server import serve
from edgeherd_sim.memory import run_here
from waiting import wait_until


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """A server, and how its user becomes root there."""

    suite: str
    server: str
    root: str

    @property
    def name(self) -> str:
        """As it is called in the tests' names."""
        return f"{self.suite}-{self.server}-{self.root}"


WAYS = [
    Way(suite=suite, server=server, root=root)
    for suite in userlands.RELEASES
    for server in ("sshd", "dropbear")
    for root in ("root", "sudo", "sudo-rs", "doas")
    if root != "sudo-rs" or suite in {"trixie", "forky"}
]


class _Hub:
    async def ask(self, connection: object) -> Answer:
        del connection
        return Answer(accepted=True)


@pytest.fixture
def place() -> Iterator[pathlib.Path]:
    """A folder that every user of the device may look into, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="edgeherd-servers.") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "server").mkdir(mode=0o755)
        yield folder


@pytest.fixture
async def device(place: pathlib.Path) -> AsyncIterator[Device]:
    """Its files, its programs and its daemon; who asks for its users and for root is the release."""
    pace = Pace(load=0.02, watchdog=0.05, pull=0.02)
    async with serve(root=place / "fleet", hub=_Hub(), pace=pace, bind="127.0.0.1") as fleet:
        for folder in (place / "fleet", fleet.devices[0].root):
            folder.chmod(0o755)
        for name in ("id", "sudo"):
            (fleet.devices[0].root / "usr/bin" / name).unlink()
        yield fleet.devices[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """One that runs."""

    lab: Sshd
    by: str

    def login(self, **other: object) -> Login:
        """A login that works."""
        return self.lab.login(user="root" if self.by == "root" else build.USER, **other)


@contextlib.contextmanager
def serving(way: Way, device: Device, folder: pathlib.Path) -> Iterator[Server]:
    """Starts it in the file system of its release."""
    root = userlands.release(way.suite)
    lab = Sshd(folder=folder, user="root", port=free_port())
    environment = {
        **device.environment,
        "EDGEHERD_SIM_UID": "0",
        "PATH": f"{device.root}/usr/bin:{_programs(way, root, folder)}",
    }
    lab.write_config(environment)
    settings = (folder / "config").read_text().replace("SetEnv ", "SetEnv EDGEHERD_SIM_UID=0 ")
    (folder / "config").write_text(settings)
    (folder / "authorized_keys").chmod(0o644)
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")]
    if way.server == "dropbear":
        command = _dropbear(lab, root, folder, environment)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*userlands.inside(root, folder), *command], stderr=log, env=environment, start_new_session=True
        )
    try:
        wait_until(lambda: process.poll() is not None or listens(lab.port))
        assert process.poll() is None, lab.log
        yield Server(lab=lab, by=way.root)
    finally:
        process.terminate()
        process.wait(processes.SECONDS)
        processes.kill_all_with("EDGEHERD_DEVICE_ROOT", device.environment["EDGEHERD_DEVICE_ROOT"])


def _programs(way: Way, root: pathlib.Path, folder: pathlib.Path) -> str:
    """A folder with the release's programs, of which exactly one becomes root."""
    programs = folder / "programs"
    programs.mkdir(mode=0o755)
    for place in ("usr/sbin", "usr/bin"):
        for entry in (root / place).iterdir():
            if entry.name not in {"sudo", "doas"}:
                with contextlib.suppress(FileExistsError):
                    (programs / entry.name).symlink_to(f"/{place}/{entry.name}")
    if way.root == "sudo-rs":
        (programs / "sudo").symlink_to("/usr/lib/cargo/bin/sudo")
    elif way.root != "root":
        (programs / way.root).symlink_to(f"/usr/bin/{way.root}")
    return str(programs)


def _dropbear(lab: Sshd, root: pathlib.Path, folder: pathlib.Path, environment: dict[str, str]) -> list[str]:
    """It takes keys from the user's home alone, and only newer ones pass an environment on."""
    (folder / "openssh").write_bytes(private(lab.host_key))
    convert = ["dropbearconvert", "openssh", "dropbear", str(folder / "openssh"), str(folder / "host_key")]
    processes.run([*userlands.inside(root, folder), *convert], check=True)
    kept = " ".join(f"{name}='{environment[name]}'" for name in ("EDGEHERD_DEVICE_ROOT", "EDGEHERD_SIM_UID", "PATH"))
    forced = f'{kept} exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
    homes = "".join(
        f"mkdir -p {home}/.ssh && cp {folder}/authorized_keys {home}/.ssh && chown -R {user} {home} && chmod 700 {home} {home}/.ssh;"
        for user, home in (
            ("root", "/root"),
            (build.USER, f"/home/{build.USER}"),
            (userlands.GUEST, f"/home/{userlands.GUEST}"),
        )
    )
    script = f'mount -t tmpfs none /home && mount -t tmpfs none /root && {{ {homes} }} && exec "$0" "$@"'
    server = [
        "/usr/sbin/dropbear",
        "-F",
        "-E",
        "-s",
        "-p",
        f"127.0.0.1:{lab.port}",
        "-r",
        str(folder / "host_key"),
    ]
    return ["/bin/sh", "-c", script, *server, "-c", forced, "-P", str(folder / "pid")]


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def server(request: pytest.FixtureRequest, device: Device, place: pathlib.Path) -> Iterator[Server]:
    """One, on the device."""
    with serving(request.param, device, place / "server") as running:
        yield running


def _configured(before: Facts) -> bytes:
    assert before.content is not None
    string = b"HostName=plant.azure-devices.net;DeviceId=press-01;SharedAccessKey=" + b"k" * 43 + b"="
    return before.content.replace(b"<ADD DEVICE CONNECTION STRING HERE>", string)


async def test_a_whole_pass(server: Server, device: Device) -> None:
    """A look, a change with one restart, and a look that finds all as it shall be; nothing is missing there."""
    async with SshConnector(run_here).connect(server.login()) as session:
        before = await session.observe(Query(path=PATH))
        change = Change(
            path=PATH, before=before.sha256, content=_configured(before), unit="iotedge.service", action=Action.RESTART
        )
        assert await session.apply(change) is Result.APPLIED
        after = await session.observe(Query(path=PATH))
    assert (before.missing, before.version, before.kind) == ((), "1.0.10", "file")
    assert (after.content, after.mode, device.restarts) == (change.content, before.mode, 1)


async def test_who_may_not_become_root_is_told_so(server: Server) -> None:
    """With a remedy that fits: sudo, sudo-rs and doas each have words of their own for it."""
    if server.by == "root":
        pytest.skip("root is root")
    with pytest.raises(SudoRefusedError) as caught:
        async with SshConnector(run_here).connect(server.lab.login(user=userlands.GUEST)) as session:
            await session.observe(Query(path=PATH))
    # sudo-rs calls itself so from 0.2 on (Debian 13), and sudo later.
    assert caught.value.program in ({"doas"} if server.by == "doas" else {"sudo", server.by})
    assert caught.value.installed


@pytest.mark.parametrize("suite", ["trixie", "forky"])
async def test_openssh_10_shuts_out_who_fails_to_log_in(suite: str, device: Device, place: pathlib.Path) -> None:
    """By itself, without a setting: three failures within seconds, and then nobody from that address is let in."""
    with serving(Way(suite=suite, server="sshd", root="root"), device, place / "server") as server:
        found = [await _attempt(server) for _ in range(8)]
        assert found[0] is LoginRefusedError
        assert found[-1] is TurnedAwayError
        assert found == sorted(found, key=[LoginRefusedError, TurnedAwayError].index)
        with pytest.raises(TurnedAwayError):
            async with SshConnector(run_here).connect(server.login()):
                pass


async def _attempt(server: Server) -> type[Exception]:
    with pytest.raises((LoginRefusedError, TurnedAwayError)) as caught:
        async with SshConnector(run_here).connect(server.login(private_key=private(key()))):
            pass
    return type(caught.value)
