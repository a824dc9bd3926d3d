"""What a key says of itself is judged before anything is computed. No input here costs anything."""

import base64
import struct

import asyncssh
import pytest
from asyncssh import asn1
from sshd_lab import PASSPHRASE, key, private, public

from edgeherd.cache import OVERHEAD_BYTES, Cache, digest
from edgeherd.device.port import CredentialError, Limits, Login
from edgeherd.device.ssh import KEY_SECONDS, keys, trust
from edgeherd.worker import WorkerError, Workers
from edgeherd_sim.memory import run_here

LARGE = "is an RSA key of more than 4096 bits, or with an unusual exponent. Use ed25519, or RSA of 4,096 bits"
LOCKED = "the private key is encrypted, and the passphrase is missing or wrong"
GARBAGE = "the private key or its certificate cannot be read"


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _openssh(rounds: int, *, header: bytes = b"") -> bytes:
    """The beginning of an encrypted key: nobody gets to the rest."""
    options = _string(b"s" * 16) + struct.pack(">I", rounds)
    data = b"openssh-key-v1\0" + _string(b"aes256-ctr") + _string(b"bcrypt") + _string(options) + struct.pack(">I", 1)
    body = base64.encodebytes(data + _string(b"") + _string(b"x" * 64))
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + header + body + b"-----END OPENSSH PRIVATE KEY-----\n"


def _pkcs8(iterations: int, kind: str) -> bytes:
    """An encrypted PKCS#8 key whose header was changed."""
    (algorithm, (pbkdf2, (salt, _, *rest)), *more), data = _parts(key().export_private_key("pkcs8-der", PASSPHRASE))
    changed = asn1.der_encode(((algorithm, ((pbkdf2, (salt, iterations, *rest)), *more)), data))
    if kind == "der":
        return changed
    return (
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        + base64.encodebytes(changed)
        + b"-----END ENCRYPTED PRIVATE KEY-----\n"
    )


def _parts(der: bytes) -> tuple[tuple[object, ...], bytes]:
    (algorithm, ((pbkdf2, parameters), encryption)), data = asn1.der_decode(der)
    return (algorithm, (pbkdf2, parameters), encryption), data


def _hashed(times: int, most: int, advice: str) -> str:
    return (
        f"the passphrase of the private key is hashed {times} times; up to {most} are read. Write it anew with {advice}"
    )


ANEW, TOPK8 = "'ssh-keygen -p -a 100'", "'openssl pkcs8 -topk8 -iter 100000'"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(_openssh(129), _hashed(129, 128, ANEW), id="one round of bcrypt too many"),
        pytest.param(_openssh(2**32 - 1), _hashed(2**32 - 1, 128, ANEW), id="rounds for days"),
        pytest.param(_openssh(999, header=b"X-Y: -\n"), _hashed(999, 128, ANEW), id="behind a header"),
        pytest.param(b"text\n" + _openssh(999), _hashed(999, 128, ANEW), id="behind a text"),
        pytest.param(_pkcs8(1_000_001, "pem"), _hashed(1_000_001, 1_000_000, TOPK8), id="PBKDF2 in PEM"),
        pytest.param(_pkcs8(10**12, "der"), _hashed(10**12, 1_000_000, TOPK8), id="PBKDF2 in DER"),
        pytest.param(b"x" * (32 * 1024 + 1), "the private key has more than 32 KiB, or its passphrase more than 1024 characters", id="longer than any key"),
        pytest.param(private(key(), "other"), LOCKED, id="another passphrase"),
        pytest.param(b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n", GARBAGE, id="cut off"),
        pytest.param(b"\x30" * 5000, GARBAGE, id="DER in DER in DER"),
        pytest.param(b"", GARBAGE, id="nothing"),
    ],
)  # fmt: skip
def test_a_key_that_is_refused(content: bytes, why: str) -> None:
    """With what to do."""
    with pytest.raises(CredentialError) as caught:
        keys.private_key(content, PASSPHRASE)
    assert str(caught.value) == why


@pytest.mark.parametrize("content", [_openssh(128), _pkcs8(1_000_000, "pem")])
def test_a_header_at_the_limit(content: bytes) -> None:
    """Is not refused for it."""
    keys.refuse_costly_passphrase(content)


def _line(bits: int, exponent: int = 65537) -> str:
    def number(value: int) -> bytes:
        return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))

    blob = _string(b"ssh-rsa") + number(exponent) + number(2 ** (bits - 1) + 1)
    return f"ssh-rsa {base64.b64encode(blob).decode()}"


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        pytest.param(_line(4096), False, id="4,096 bits"),
        pytest.param(_line(4097), True, id="a bit more"),
        pytest.param(_line(16384), True, id="four times as many"),
        pytest.param(_line(2048, 2**65 + 1), True, id="an exponent that makes checks slow"),
        pytest.param(public(key()), False, id="ed25519"),
    ],
)
def test_public_keys_that_are_slow(line: str, refused: bool) -> None:
    """Pinned in the spec or in known_hosts."""
    told = []
    for read, what in (
        (lambda: keys.public_key(line), "a pinned host key"),
        (lambda: keys.known_hosts(f"h {line}\n", "h", "", None), "a host key"),
    ):
        try:
            read()
        except CredentialError as exc:
            told.append(str(exc) == f"{what} {LARGE}")
    assert told == ([True, True] if refused else [])


def test_a_private_key_of_too_many_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused before it is validated, which is what takes the time."""
    monkeypatch.setattr(keys, "RSA_BITS", 1024)
    validated: list[object] = []
    real = asyncssh.import_private_key

    def counting(content: bytes, passphrase: str | None = None, **options: object) -> asyncssh.SSHKey:
        validated.extend([] if options.get("unsafe_skip_rsa_key_validation") else [content])
        return real(content, passphrase, **options)

    monkeypatch.setattr(asyncssh, "import_private_key", counting)
    with pytest.raises(CredentialError):
        keys.private_key(private(key("ssh-rsa")), None)
    assert validated == []


def test_known_hosts_that_says_too_much() -> None:
    """A thousand keys for one host are no pin."""
    with pytest.raises(CredentialError, match="more than 64 lines"):
        keys.known_hosts(f"h {public(key())}\n" * 65, "h", "", None)
    with pytest.raises(CredentialError, match="more than 1048576 characters"):
        keys.known_hosts("#" * (2**20 + 1), "h", "", None)


def _login(content: bytes, passphrase: str | None = None) -> Login:
    return Login(host="h", port=22, user="u", private_key=content, passphrase=passphrase, limits=Limits())


async def test_a_key_is_read_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it would raise."""
    monkeypatch.setattr(keys, "refuse_costly_passphrase", None)
    of = key()
    pair = (
        await trust.Trust(Workers(processes=1, seconds=KEY_SECONDS).run).client_keys(
            _login(private(of, PASSPHRASE), PASSPHRASE)
        )
    )[0]
    assert pair.public_data == of.public_data


async def test_a_key_whose_worker_was_killed() -> None:
    """Says so."""

    async def killed(*_: object) -> object:
        raise WorkerError("it took longer than 20 s, or its process was killed")

    with pytest.raises(CredentialError) as caught:
        await trust.Trust(killed).client_keys(_login(b"x"))
    assert str(caught.value) == "the private key could not be read: it took longer than 20 s, or its process was killed"


async def test_the_cache_keeps_successes_within_its_bytes() -> None:
    """Not contents, not failures; the one that was used longest ago goes first."""
    cache, read = Cache[str](3 * (OVERHEAD_BYTES + 100)), []

    async def get(name: str) -> str:
        async def make() -> tuple[str, int]:
            read.append(name)
            if name == "bad":
                raise CredentialError(name)
            return name, 100

        return await cache.get(digest(name), make)

    for name in ("a", "b", "c", "a", "d", "a", "b"):
        assert await get(name) == name
    for _ in range(2):
        with pytest.raises(CredentialError):
            await get("bad")
    assert read == ["a", "b", "c", "d", "b", "bad", "bad"]


def test_a_digest_tells_its_parts_apart() -> None:
    """Or one key's passphrase could open another."""
    parts: list[tuple[bytes | str | None, ...]] = [(b"ab", b"c"), (b"a", b"bc"), (b"a", None), (b"a", "None"), (b"a",)]
    assert len({digest(*one) for one in parts}) == len(parts)


async def test_run_here_is_enough_for_tests() -> None:
    """The stand-in of the worker does what the worker does."""
    assert await run_here(len, "abc") == await Workers(processes=1, seconds=5).run(len, "abc")
