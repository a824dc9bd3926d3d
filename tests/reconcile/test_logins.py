"""How a device is reached: credentials from Secrets, host keys of first use, and what a failure means."""

import dataclasses
from typing import Any

import pytest
from memory_lab import connection, edge_device

from edgeherd.cluster.errors import ConflictError
from edgeherd.device.port import (
    AddressNotAllowedError,
    CredentialError,
    DeviceError,
    HostKeyMismatchError,
    JumpHostError,
    Limits,
    Login,
    LoginRefusedError,
    OddAnswerError,
    Platform,
    SudoRefusedError,
    TurnedAwayError,
    UnreachableError,
)
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import KNOWN_HOSTS_TYPE, Secret
from edgeherd.reconcile.errors import from_device_error
from edgeherd.reconcile.ssh_logins import SshLogins
from edgeherd_sim.memory import MemoryCluster, MemoryNetwork, Steps

KEY, OTHER_KEY = "ssh-ed25519 AAAA", "ssh-ed25519 BBBB"
KNOWN = "press-01-known-hosts"
TARGET = {"host": "h", "user": "u", "credentialsSecretRef": {"name": "ssh"}}
PINNED = {**TARGET, "hostKeys": [KEY]}
TRUSTING = {**TARGET, "hostKeyPolicy": "TrustOnFirstUse"}
JUMP = {"host": "j", "port": 2222, "user": "ju", "credentialsSecretRef": {"name": "jump"}}
LOGIN = Login(host="h", port=22, user="u", private_key=b"PRIVATE", host_keys=(KEY,))


@dataclasses.dataclass
class Lab:
    """One cluster, one network, one SshLogins; what happens to them is in one list."""

    steps: Steps
    cluster: MemoryCluster
    network: MemoryNetwork
    logins: SshLogins
    told: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    async def login(self, **ssh: Any) -> Login:
        """As the step asks for it."""
        return await self.logins.login(edge_device(ssh=ssh), connection(), tell=self.tell)

    def tell(self, reason: str, message: str) -> None:
        """An Event of the pass."""
        self.steps.taken.append(f"event {reason}")
        self.told.append((reason, message))

    @property
    def log(self) -> list[str]:
        """What happened."""
        return self.steps.taken

    @property
    def remembered(self) -> Secret | None:
        """The Secret with the host keys."""
        return self.cluster.secrets.get(("plant-a", KNOWN))

    def secret(self, name: str, **more: Any) -> None:
        """Somebody creates a Secret; `data` is text here."""
        data = {key: value.encode() for key, value in more.pop("data").items()}
        self.cluster.put_secret("plant-a", name, data, **{"type_": "kubernetes.io/ssh-auth", **more})


@pytest.fixture
def lab() -> Lab:
    """With a Secret for the device and one for the jump host."""
    steps = Steps()
    cluster, network = MemoryCluster(steps), MemoryNetwork(steps=steps)
    network.keys = {"h": KEY, "j": OTHER_KEY}
    lab = Lab(steps, cluster, network, SshLogins(cluster, connect=network.connect, host_key=network.host_key))
    lab.secret("ssh", data={"ssh-privatekey": "PRIVATE"})
    lab.secret("jump", data={"password": "pw"})
    return lab


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"ssh-privatekey": "PRIVATE"}, LOGIN, id="a key"),
        pytest.param(
            {
                "ssh-privatekey": "PRIVATE",
                "passphrase": "pp",
                "ssh-certificate": "CERT",
                "known_hosts": "h ssh-ed25519 X",
            },
            dataclasses.replace(LOGIN, passphrase="pp", certificate=b"CERT", known_hosts="h ssh-ed25519 X"),
            id="all that goes with a key",
        ),
        pytest.param(
            {"password": "p\u00e4"}, dataclasses.replace(LOGIN, private_key=b"", password="p\u00e4"), id="a password"
        ),
        pytest.param(
            {"ssh-privatekey": "\n", "password": "pw"},
            dataclasses.replace(LOGIN, private_key=b"", password="pw"),
            id="a password, and a key that is none",
        ),
        pytest.param(
            {"ssh-privatekey": "PRIVATE\n", "password": "pw\n", "passphrase": "pp\r\n"},
            dataclasses.replace(LOGIN, private_key=b"PRIVATE\n", password="pw", passphrase="pp"),
            id="line breaks of the files that it was made from",
        ),
    ],
)
async def test_credentials_come_from_the_secret(lab: Lab, data: dict[str, str], expected: Login) -> None:
    """Nothing of them shows in a repr."""
    lab.secret("ssh", data=data)
    found = await lab.login(**PINNED)
    assert found == expected
    assert not any(value in repr(found) for value in ("PRIVATE", "'pp'", "'pw'"))
    assert lab.log == []


async def test_the_administrators_limits_hold_for_both_hops(lab: Lab) -> None:
    """So does the platform, which decides about the scripts."""
    device = edge_device(
        ssh={**PINNED, "jumpHost": {**JUMP, "hostKeys": [OTHER_KEY]}}, runtime={"operatingSystem": "Windows"}
    )
    limits = Limits(networks=("10.0.0.0/8",), ports=(22, 2222))
    found = await lab.logins.login(
        device, connection(allowedCIDRs=["10.0.0.0/8"], allowedPorts=[22, 2222]), tell=lab.tell
    )
    jump = Login(
        host="j",
        port=2222,
        user="ju",
        password="pw",
        host_keys=(OTHER_KEY,),
        limits=limits,
        platform=Platform.WINDOWS,
    )
    assert found == dataclasses.replace(LOGIN, jump=jump, limits=limits, platform=Platform.WINDOWS)


NO_SECRET = "There is no Secret '{}' ({}.credentialsSecretRef). Create it with 'kubectl create secret generic --type=kubernetes.io/ssh-auth'."


@pytest.mark.parametrize(
    ("ssh", "name", "data", "expected"),
    [
        pytest.param(
            PINNED,
            "ssh",
            None,
            Waiting("SshSecretNotFound", NO_SECRET.format("ssh", "spec.ssh"), retry_after=30),
            id="no Secret",
        ),
        pytest.param(
            {**PINNED, "jumpHost": JUMP},
            "jump",
            None,
            Waiting("SshSecretNotFound", NO_SECRET.format("jump", "spec.ssh.jumpHost"), retry_after=30),
            id="no Secret for the jump host",
        ),
        pytest.param(
            PINNED,
            "ssh",
            {"ssh-privatekey": " \n", "password": "\n"},
            Stalled(
                "SshSecretInvalid",
                "Secret 'ssh' (spec.ssh.credentialsSecretRef) has neither 'ssh-privatekey' nor 'password'. Add one of them.",
            ),
            id="an empty Secret",
        ),
        pytest.param(
            TARGET,
            "ssh",
            {"password": "pw"},
            Stalled(
                "HostKeyNotPinned",
                (
                    "No host key is pinned. List the host's keys in spec.ssh.hostKeys, or put 'known_hosts' in Secret "
                    "'ssh' (spec.ssh.credentialsSecretRef)."
                ),
            ),
            id="no host key",
        ),
    ],
)
async def test_what_is_missing(
    lab: Lab, ssh: dict[str, Any], name: str, data: dict[str, str] | None, expected: ReconcileError
) -> None:
    """It is said where to put it, and nobody is asked for anything."""
    lab.cluster.delete_secret("plant-a", name)
    if data is not None:
        lab.secret(name, data=data)
    with pytest.raises(type(expected)) as caught:
        await lab.login(**ssh)
    assert vars(caught.value) == vars(expected)
    assert lab.log == []


# ---- trust on first use


async def test_a_key_of_first_use_is_remembered_before_anything_is_sent(lab: Lab) -> None:
    """The host is asked, the Secret written, the Event told; only then somebody may connect."""
    found = await lab.login(**TRUSTING)
    async with lab.network.connect(found):
        pass
    assert lab.log == ["ask h", f"create {KNOWN}", "event HostKeyRemembered", "connect h"]
    assert found == LOGIN
    secret = lab.remembered
    assert secret is not None
    assert (secret.type, secret.owner_uids, secret.data) == (
        KNOWN_HOSTS_TYPE,
        ("u1",),
        {"known_hosts": f"[h]:22 {KEY}\n".encode()},
    )
    message = "h showed the host key ssh-ed25519; it is trusted from now on and no other."
    assert lab.told == [("HostKeyRemembered", message)]


async def test_the_remembered_key_is_pinned(lab: Lab) -> None:
    """Nobody is asked again, whatever the host would show; the Secret's own known_hosts does not count."""
    lab.secret("ssh", data={"password": "pw", "known_hosts": "h ssh-ed25519 X"})
    first = await lab.login(**TRUSTING)
    lab.network.keys["h"] = OTHER_KEY
    lab.log.clear()
    assert await lab.login(**TRUSTING) == first
    assert (first.host_keys, first.known_hosts, lab.log) == ((KEY,), "", [])


async def test_deleting_the_secret_trusts_anew(lab: Lab) -> None:
    """That is how a re-imaged device is let in."""
    await lab.login(**TRUSTING)
    lab.network.keys["h"] = OTHER_KEY
    lab.cluster.delete_secret("plant-a", KNOWN)
    assert (await lab.login(**TRUSTING)).host_keys == (OTHER_KEY,)


async def test_another_address_is_another_first_use(lab: Lab) -> None:
    """The port belongs to it; what was remembered stays."""
    lab.network.keys["fd00::1"] = OTHER_KEY
    await lab.login(**TRUSTING)
    await lab.login(**{**TRUSTING, "port": 2222})
    found = await lab.login(**{**TRUSTING, "host": "fd00::1"})
    assert found.host_keys == (OTHER_KEY,)
    assert lab.remembered is not None
    text = lab.remembered.data["known_hosts"].decode()
    assert text == f"[h]:22 {KEY}\n[h]:2222 {KEY}\n[fd00::1]:22 {OTHER_KEY}\n"


async def test_both_hops_on_first_use(lab: Lab) -> None:
    """The jump host's key is remembered before the device is asked through it."""
    found = await lab.login(**{**TRUSTING, "jumpHost": {**JUMP, "hostKeyPolicy": "TrustOnFirstUse"}})
    assert lab.log == [
        "ask j",
        f"create {KNOWN}",
        "event HostKeyRemembered",
        "ask h",
        f"update {KNOWN}",
        "event HostKeyRemembered",
    ]
    assert found.jump is not None
    assert (found.host_keys, found.jump.host_keys) == ((KEY,), (OTHER_KEY,))
    assert lab.remembered is not None
    assert lab.remembered.data["known_hosts"].decode() == f"[j]:2222 {OTHER_KEY}\n[h]:22 {KEY}\n"


async def test_a_host_that_shows_no_key_is_not_remembered(lab: Lab) -> None:
    """The failure is the session's."""
    lab.network.error = UnreachableError("refused")
    with pytest.raises(UnreachableError):
        await lab.login(**TRUSTING)
    assert (lab.log, lab.remembered) == (["ask h"], None)


async def test_a_secret_that_changes_meanwhile(lab: Lab) -> None:
    """Nobody is trusted; it is looked at again."""
    lab.steps.begin(2, ConflictError(409, "it is there"))
    with pytest.raises(Waiting) as caught:
        await lab.login(**TRUSTING)
    message = f"Secret '{KNOWN}' changed meanwhile. It is looked at again."
    assert vars(caught.value) == vars(Waiting("SecretChanging", message, retry_after=1))
    assert lab.log == ["ask h", f"create {KNOWN}"]


@pytest.mark.parametrize(
    ("type_", "owners"), [("Opaque", ("u1",)), (KNOWN_HOSTS_TYPE, ()), (KNOWN_HOSTS_TYPE, ("u2",)), ("Opaque", ())]
)
async def test_somebody_elses_secret_is_no_memory(lab: Lab, type_: str, owners: tuple[str, ...]) -> None:
    """Whoever may create Secrets could plant a key in it."""
    lab.secret(KNOWN, type_=type_, owner_uids=owners, data={"known_hosts": f"[h]:22 {OTHER_KEY}\n"})
    with pytest.raises(Stalled) as caught:
        await lab.login(**TRUSTING)
    message = (
        f"Secret '{KNOWN}' exists and is not this EdgeDevice's, so no host key can be remembered in it. Remove it."
    )
    assert vars(caught.value) == vars(Stalled("SecretConflict", message))
    assert lab.log == []


# ---- what is told of a host that cannot be reached

NOT_TOLD = "why is told only where the HubConnection's allowedCIDRs name its network"
CAUSES = (
    UnreachableError("the connection was refused"),
    UnreachableError("it did not answer in time"),
    UnreachableError("the device closed the connection"),
    JumpHostError(UnreachableError("the connection was refused")),
    JumpHostError(UnreachableError("it did not answer in time")),
)


@pytest.mark.parametrize(
    ("cidrs", "told"),
    [
        pytest.param(None, False, id="no networks"),
        pytest.param(["0.0.0.0/0", "::/0"], False, id="a whole address space names nothing"),
        pytest.param(["10.0.0.0/8", "::/0"], False, id="nor does it beside one that is named"),
        pytest.param(["10.0.0.0/8"], True, id="a network that the administrator named"),
    ],
)
@pytest.mark.parametrize("cause", CAUSES, ids=repr)
@pytest.mark.parametrize("policy", [PINNED, TRUSTING], ids=["at a login", "when a host key is asked for"])
async def test_ports_are_not_told_apart(
    lab: Lab, policy: dict[str, Any], cause: DeviceError, cidrs: list[str] | None, told: bool
) -> None:
    """Who may write an EdgeDevice must not learn from it what listens where, unless an administrator meant the network."""
    lab.network.error = cause
    device = edge_device(ssh={**policy, "jumpHost": {**JUMP, "hostKeys": [OTHER_KEY]}})
    hub = connection(**({"allowedCIDRs": cidrs} if cidrs else {}))
    with pytest.raises(type(cause)) as caught:
        async with lab.logins.session(device, hub, tell=lab.tell):
            pass
    assert str(caught.value) == (str(cause) if told else NOT_TOLD)
    said = from_device_error(caught.value, device).message
    assert said.endswith(f"cannot be reached: {cause if told else NOT_TOLD}. It is tried again.")


@pytest.mark.parametrize(
    "error",
    [
        LoginRefusedError("no"),
        AddressNotAllowedError("no"),
        HostKeyMismatchError("SHA256:b", ("SHA256:a",)),
        JumpHostError(LoginRefusedError("no")),
    ],
    ids=repr,
)
async def test_what_is_no_connection_is_told(lab: Lab, error: DeviceError) -> None:
    """Something speaks SSH there, and its owner needs to know what is wrong."""
    lab.network.error = error
    with pytest.raises(type(error)) as caught:
        async with lab.logins.session(edge_device(ssh=PINNED), connection(), tell=lab.tell):
            pass
    assert caught.value is error


async def test_a_connection_that_breaks_later_is_told(lab: Lab) -> None:
    """There was a login: nothing is found out by it."""
    with pytest.raises(UnreachableError, match="it broke"):
        async with lab.logins.session(edge_device(ssh=PINNED), connection(), tell=lab.tell):
            raise UnreachableError("it broke")


async def test_the_clusters_networks_are_in_the_limits(lab: Lab) -> None:
    """Of every login."""
    networks = ("10.96.0.1/32",)
    logins = SshLogins(
        lab.cluster, connect=lab.network.connect, host_key=lab.network.host_key, cluster_networks=networks
    )
    found = await logins.login(edge_device(ssh=PINNED), connection(), tell=lab.tell)
    assert found == dataclasses.replace(LOGIN, limits=Limits(cluster_networks=networks))


# ---- what failures mean

MISMATCH = (
    "{host} presented SHA256:b, expected %s. Nothing was sent. If the device was re-imaged, put its new key in "
    "{field}.hostKeys; otherwise somebody is in between."
)


@pytest.mark.parametrize(
    ("error", "reason", "retry_after", "says"),
    [
        pytest.param(
            HostKeyMismatchError("SHA256:b", ("SHA256:a", "SHA256:c")),
            "HostKeyMismatch",
            None,
            MISMATCH % "SHA256:a or SHA256:c",
            id="another host key",
        ),
        pytest.param(
            HostKeyMismatchError("SHA256:b", ()),
            "HostKeyMismatch",
            None,
            MISMATCH % "none of its kind",
            id="a host key of a kind that is not pinned",
        ),
        pytest.param(
            LoginRefusedError("publickey was tried"),
            "SshLoginRefused",
            None,
            (
                "{host} refuses the login of user '{user}' with Secret '{secret}': publickey was tried. Add the public key "
                "to the user's authorized_keys, or fix the Secret. It is tried once a minute, because OpenSSH 9.8 and later "
                "shut out an address that fails more often."
            ),
            id="no login",
        ),
        pytest.param(
            CredentialError("it has a passphrase"),
            "SshSecretInvalid",
            None,
            "Secret '{secret}' or {field}.hostKeys cannot be used: it has a passphrase. Fix it.",
            id="a key that cannot be read",
        ),
        pytest.param(
            AddressNotAllowedError("127.0.0.1 is loopback"),
            "AddressNotAllowed",
            None,
            "{host} may not be connected to: 127.0.0.1 is loopback (HubConnection 'contoso').",
            id="an address that is not allowed",
        ),
        pytest.param(
            SudoRefusedError("sudo-rs"),
            "SudoRefused",
            None,
            (
                "User '{user}' on {host} may not become root: sudo-rs asks for a password or refuses. Add a NOPASSWD rule to "
                "sudoers."
            ),
            id="no right to sudo",
        ),
        pytest.param(
            SudoRefusedError("doas"),
            "SudoRefused",
            None,
            (
                "User '{user}' on {host} may not become root: doas asks for a password or refuses. Add "
                "'permit nopass {user} as root' to /etc/doas.conf."
            ),
            id="no right to doas",
        ),
        pytest.param(
            SudoRefusedError("sudo", installed=False),
            "SudoRefused",
            None,
            (
                "User '{user}' on {host} may not become root: neither sudo nor doas is installed. Install sudo with a "
                "NOPASSWD rule, or log in as root."
            ),
            id="no sudo",
        ),
        pytest.param(
            OddAnswerError("the answer was cut short"),
            "DeviceAnswerInvalid",
            60,
            "{host} gave an answer that makes no sense: the answer was cut short. It is tried again.",
            id="an odd answer",
        ),
        pytest.param(
            UnreachableError("connection refused"),
            "DeviceUnreachable",
            30,
            "{host} port {port} cannot be reached: connection refused. It is tried again.",
            id="no connection",
        ),
        pytest.param(
            TurnedAwayError("it closed the connection"),
            "DeviceUnreachable",
            60,
            "{host} port {port} cannot be reached: it closed the connection. It is tried again.",
            id="a server that turns us away",
        ),
        pytest.param(
            DeviceError("x"),
            "DeviceUnreachable",
            30,
            "{host} port {port} cannot be reached: x. It is tried again.",
            id="anything else",
        ),
    ],
)
def test_what_a_failed_session_means(error: DeviceError, reason: str, retry_after: float | None, says: str) -> None:
    """For the device and for the jump host, each with its own names."""
    device = edge_device(ssh={**PINNED, "jumpHost": JUMP})
    names = (
        {"host": "h", "port": 22, "field": "spec.ssh", "secret": "ssh", "user": "u"},
        {"host": "Jump host j", "port": 2222, "field": "spec.ssh.jumpHost", "secret": "jump", "user": "ju"},
    )
    for raised, hop in zip((error, JumpHostError(error)), names, strict=True):
        message = says.format(**hop)
        expected = (
            Stalled(reason, message) if retry_after is None else Waiting(reason, message, retry_after=retry_after)
        )
        # Whatever step was using it: a connection that breaks shows on Reachable.
        expected.condition = "Reachable" if reason == "DeviceUnreachable" else ""
        found = from_device_error(raised, device)
        assert (type(found), vars(found)) == (type(expected), vars(expected))


def test_another_key_than_on_first_use() -> None:
    """The way out is another one: the Secret that remembers."""
    device = edge_device(ssh=TRUSTING)
    found = from_device_error(HostKeyMismatchError("SHA256:b", ("SHA256:a",)), device)
    message = (
        "h presented SHA256:b, expected SHA256:a as on first use. Nothing was sent. If it was re-imaged, delete Secret "
        f"'{KNOWN}'; otherwise somebody is in between."
    )
    assert (type(found), vars(found)) == (Stalled, vars(Stalled("HostKeyMismatch", message)))
