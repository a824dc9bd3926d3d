"""Keys and certificates of Secrets, read and judged. Runs in a worker process: who writes a key says how long it takes.

What costs is limited by what the key says of itself, before anything is computed.
"""

import binascii
import contextlib
import functools
import re
import struct
from typing import Any, NamedTuple

import asyncssh
from asyncssh import asn1

from edgeherd.device.port import CredentialError

KEY_BYTES = 32 * 1024
"""Of a private key or a certificate; RSA of 4,096 bits has 3.4 KB."""
PASSPHRASE_CHARACTERS = 1024
KNOWN_HOSTS_CHARACTERS = 1024 * 1024
"""A Secret holds no more."""
RSA_BITS = 4096
"""OpenSSL checks such a key in 0.4 s, one of 16,384 bits in half a minute (measured)."""
_EXPONENT_BITS = 64
"""65537 has 17 bits; an exponent as long as the modulus makes each signature's check as slow as its making."""
BCRYPT_ROUNDS = 128
"""ssh-keygen uses 16 or 24, and many guides say `-a 100`. A round takes 10 to 25 ms (measured)."""
PBKDF_ITERATIONS = 1_000_000
"""openssl uses 2,048; OWASP asks for 600,000 at most. A million take 1 to 3 s (measured)."""
_MATCHES = 64
"""So many lines of known_hosts may be about one host."""

_HEAD = re.compile(rb"^-----BEGIN [^\n]*PRIVATE KEY-----\s*?$", re.MULTILINE)
_OPENSSH = b"openssh-key-v1\0"


class KnownHosts(NamedTuple):
    """What a known_hosts file says of one host: lines as in a '.pub' file."""

    keys: tuple[bytes, ...]
    authorities: tuple[bytes, ...]
    revoked: tuple[bytes, ...]


def private_key(content: bytes, passphrase: str | None) -> bytes:
    """A private key without its passphrase, validated, as OpenSSH writes it.

    Raises:
        CredentialError: it cannot be read, or to read it would cost too much.
    """
    if len(content) > KEY_BYTES or len(passphrase or "") > PASSPHRASE_CHARACTERS:
        message = f"the private key has more than {KEY_BYTES // 1024} KiB, or its passphrase more than {PASSPHRASE_CHARACTERS} characters"
        raise CredentialError(message)
    refuse_costly_passphrase(content)
    try:
        # Unvalidated, an RSA key of any size is read at once: first see its size, then validate.
        key = asyncssh.import_private_key(content, passphrase, unsafe_skip_rsa_key_validation=True)
        refuse_large(key, "the private key")
        exported: bytes = key.export_private_key("openssh")
        if key.get_algorithm() == "ssh-rsa":
            asyncssh.import_private_key(exported)
    except (ValueError, RecursionError) as exc:
        # All of asyncssh's errors about keys are a ValueError; only its words tell a lock from garbage.
        is_locked = isinstance(exc, asyncssh.KeyEncryptionError) or any(
            word in str(exc).lower() for word in ("passphrase", "decrypt")
        )
        why = (
            "is encrypted, and the passphrase is missing or wrong" if is_locked else "or its certificate cannot be read"
        )
        message = f"the private key {why}"
        raise CredentialError(message) from None
    return exported


def check_certificate(content: bytes) -> None:
    """Whether a certificate may be used in the operator itself.

    Raises:
        CredentialError: it cannot be read, or its use would cost too much.
    """
    if len(content) > KEY_BYTES:
        message = f"the certificate has more than {KEY_BYTES // 1024} KiB"
        raise CredentialError(message)
    try:
        certificate = asyncssh.import_certificate(content)
    except (ValueError, RecursionError):
        message = "the private key or its certificate cannot be read"
        raise CredentialError(message) from None
    for key in (certificate.key, getattr(certificate, "signing_key", None)):
        if key is not None:
            refuse_large(key, "the certificate")


def known_hosts(text: str, host: str, address: str, port: int | None) -> KnownHosts:
    """What a known_hosts file says of a host.

    Raises:
        CredentialError: it cannot be read, or says too much.
    """
    if len(text) > KNOWN_HOSTS_CHARACTERS:
        message = f"known_hosts has more than {KNOWN_HOSTS_CHARACTERS} characters"
        raise CredentialError(message)
    try:
        found = _parsed(text).match(host, address, port)[:3]
    except (ValueError, RecursionError):
        message = "a pinned host key cannot be read"
        raise CredentialError(message) from None
    if sum(map(len, found)) > _MATCHES:
        message = f"known_hosts has more than {_MATCHES} lines for {host}"
        raise CredentialError(message)
    for key in (key for keys in found for key in keys):
        refuse_large(key, "a host key")
    return KnownHosts(*(tuple(key.export_public_key("openssh") for key in keys) for keys in found))


@functools.lru_cache(maxsize=2)
def _parsed(text: str) -> asyncssh.SSHKnownHosts:
    """A fleet shares one file; whoever asks for its next device finds it here."""
    return asyncssh.import_known_hosts(text)


def public_key(line: str) -> asyncssh.SSHKey:
    """A public key of one line, as in a '.pub' file. Cheap enough for anywhere.

    Raises:
        CredentialError: it is too large.
        ValueError: it cannot be read.
    """
    key = asyncssh.import_public_key(line)
    refuse_large(key, "a pinned host key")
    return key


def refuse_large(key: asyncssh.SSHKey, what: str) -> None:
    """Refuse what is slow wherever it is used: RSA of too many bits, and DSA.

    Raises:
        CredentialError: it is such a key.
    """
    if key.get_algorithm() == "ssh-dss":
        message = f"{what} is of the type DSA. Make a new one with 'ssh-keygen -t ed25519'"
        raise CredentialError(message)
    if key.get_algorithm() == "ssh-rsa":
        pyca: Any = key.pyca_key
        numbers = (pyca.public_key() if hasattr(pyca, "public_key") else pyca).public_numbers()
        if numbers.n.bit_length() > RSA_BITS or numbers.e.bit_length() > _EXPONENT_BITS:
            message = f"{what} is an RSA key of more than {RSA_BITS} bits, or with an unusual exponent. Use ed25519, or RSA of 4,096 bits"
            raise CredentialError(message)


def refuse_costly_passphrase(content: bytes) -> None:
    """Refuse a key whose header asks for more hashing of its passphrase than anybody needs.

    Raises:
        CredentialError: it does. What cannot be understood here cannot be by asyncssh either, which says so.
    """
    for data in _decoded(content):
        if data.startswith(_OPENSSH):
            rounds, limit, advice = _bcrypt_rounds(data), BCRYPT_ROUNDS, "'ssh-keygen -p -a 100'"
        else:
            rounds, limit, advice = _iterations(data), PBKDF_ITERATIONS, "'openssl pkcs8 -topk8 -iter 100000'"
        if rounds > limit:
            message = f"the passphrase of the private key is hashed {rounds} times; up to {limit} are read. Write it anew with {advice}"
            raise CredentialError(message)


def _decoded(content: bytes) -> list[bytes]:
    """What asyncssh may take for the private key: it reads the first one, and passes over what is not base64."""
    found = [content] if content.startswith(b"\x30") else []
    head = _HEAD.search(content)
    if head is not None:
        lines = content[head.end() :].partition(b"\n-----END")[0].split(b"\n")[1:]
        while lines and b":" in lines[0]:  # headers of the traditional form, which hashes a passphrase once
            del lines[0]
        with contextlib.suppress(binascii.Error):
            found.append(binascii.a2b_base64(b"\n".join(lines)))
    return found


def _bcrypt_rounds(data: bytes) -> int:
    """PROTOCOL.key of OpenSSH: cipher, KDF and its options are the first three strings; salt and rounds are in the last."""
    try:
        rest = data.removeprefix(_OPENSSH)
        for _ in range(2):
            _, rest = _string(rest)
        options, _ = _string(rest)
        if not options:
            return 0
        _, rest = _string(options)
        return int(struct.unpack(">I", rest)[0])
    except struct.error:
        return 0


def _string(data: bytes) -> tuple[bytes, bytes]:
    length = struct.unpack(">I", data[:4])[0]
    return data[4 : 4 + length], data[4 + length :]


def _iterations(data: bytes) -> int:
    """The largest number in the algorithm of an EncryptedPrivateKeyInfo (RFC 5958): how it derives the key is all in there."""
    try:
        said, _ = asn1.der_decode_partial(data)
    except (ValueError, RecursionError):
        return 0
    if not (isinstance(said, tuple) and len(said) == 2 and isinstance(said[0], tuple) and isinstance(said[1], bytes)):
        return 0
    waiting, largest = [*said[0]], 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple):
            waiting += one
        elif isinstance(one, int):
            largest = max(largest, abs(one))
    return largest
