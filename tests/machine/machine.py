"""A machine that is booted: systemd as its first process, an sshd, and no way out but to us.

systemd-nspawn runs it on the cached file system; what it writes is kept in memory and gone with it. Its network is one
veth pair, with a /30 of its own and no gateway.
"""

import contextlib
import dataclasses
import ipaddress
import json
import os
import pathlib
import random
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator

BOOT_SECONDS = 60
STOP_SECONDS = 30

_KEEPER = pathlib.Path(__file__).with_name("keeper.sh")
_NETWORKS = ipaddress.ip_network("10.233.0.0/16")


@dataclasses.dataclass(frozen=True)
class Machine:
    """How to get at it: from inside as root, or from outside at its address."""

    leader: int
    address: str
    host_key: str

    def run(self, *command: str, stdin: bytes = b"") -> str:
        """Run a command in it as root; what it said. It must succeed."""
        done = self.attempt(*command, stdin=stdin)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{said}")
        return done.stdout.decode()

    def attempt(self, *command: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        """The same, but it may fail."""
        inside = ["nsenter", "--target", str(self.leader), "--all"]
        environment = ["env", "-i", "-C", "/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        return subprocess.run(
            [*inside, *environment, *command], input=stdin, capture_output=True, timeout=60, check=False
        )


@contextlib.contextmanager
def boot(base: pathlib.Path, log: pathlib.Path) -> Iterator[Machine]:
    """A machine that is up, until the block ends. What is said meanwhile goes to the log."""
    name = f"edgeherd-{secrets.token_hex(3)}"  # as long as the name of an interface may be
    with _kept(base, name, log) as (notify, keeper):
        leader = int(_until(notify, keeper, log, "X_NSPAWN_LEADER_PID="))
        host, address = _addresses()
        _connect(name, leader, host, address)
        _until(notify, keeper, log, "READY=1")
        key = (base / "etc/ssh/ssh_host_ed25519_key.pub").read_text().strip()
        yield Machine(leader=leader, address=address, host_key=key)


@contextlib.contextmanager
def _kept(
    base: pathlib.Path, name: str, log: pathlib.Path
) -> Iterator[tuple[socket.socket, "subprocess.Popen[bytes]"]]:
    """systemd-nspawn under its keeper, and the socket where it reports."""
    nspawn = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={base}",
        f"--machine={name}",
        "--volatile=overlay",
        f"--network-veth-extra={name}:host0",  # a name that no rule of the host's own network setup matches
        "--notify-ready=yes",
        "--register=no",  # there need not be a systemd outside
        "--keep-unit",
        "--console=pipe",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reports, log.open("wb") as output:
        reports.bind(f"\0{name}")  # of the abstract kind, which leaves no file
        keeper = subprocess.Popen(
            [_KEEPER, name, " ".join(_hierarchies()), *nspawn],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NOTIFY_SOCKET": f"@{name}"},
            start_new_session=True,  # an interrupt is for us; the keeper hears of our end
        )
        assert keeper.stdin is not None
        try:
            yield reports, keeper
        finally:
            keeper.stdin.close()
            keeper.wait(STOP_SECONDS)


def _hierarchies() -> list[str]:
    """Where systemd keeps its control groups: two machines in one group would be each other's children."""
    mounts = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            mounts.append(before.split(" ")[4])
    return mounts


def _until(notify: socket.socket, keeper: "subprocess.Popen[bytes]", log: pathlib.Path, wanted: str) -> str:
    """Wait for a report; what follows in it."""
    deadline = time.monotonic() + BOOT_SECONDS
    notify.settimeout(0.2)
    while keeper.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            for line in notify.recv(4096).decode().splitlines():
                if line.startswith(wanted):
                    return line.removeprefix(wanted)
    raise RuntimeError(f"the machine does not boot ({wanted} is missing):\n{log.read_text(errors='replace')}")


def _addresses() -> tuple[str, str]:
    """Two addresses that nobody here has or knows a way to: ours, and the machine's."""
    listing = subprocess.run(["ip", "-json", "-4", "route", "show", "table", "all"], capture_output=True, check=True)
    routes = [route["dst"] for route in json.loads(listing.stdout) if route["dst"] != "default"]
    taken = [ipaddress.ip_network(route, strict=False) for route in routes]
    for _ in range(100):
        start = _NETWORKS[4 * random.randrange(_NETWORKS.num_addresses // 4)]  # noqa: S311  # no secret
        network = ipaddress.ip_network(f"{start}/30")
        if not any(network.overlaps(other) for other in taken):
            return str(network[1]), str(network[2])
    raise RuntimeError(f"{_NETWORKS} is taken here")


def _connect(name: str, leader: int, host: str, address: str) -> None:
    """Give both ends of the veth pair their addresses."""
    inside = ["nsenter", "--target", str(leader), "--net"]
    for command in (
        ["ip", "address", "add", f"{host}/30", "dev", name],
        ["ip", "link", "set", name, "up"],
        [*inside, "ip", "address", "add", f"{address}/30", "dev", "host0"],
        [*inside, "ip", "link", "set", "host0", "up"],
    ):
        subprocess.run(command, check=True, capture_output=True)
