"""Which algorithms are taken, and what is said where a server has none of them. Pure.

In the order of preference: what is fast and modern first (measured: AES-GCM before ChaCha20; curve25519 and mlkem768 cost the
same). What signs or exchanges keys with SHA-1 is not taken; HMAC-SHA1 is not affected by what is wrong with that.
"""

import re
import struct
from collections.abc import Iterator, Sequence

KEX = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",  # its name before OpenSSH 7.4
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
)
HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
)
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
)
"""For the ciphers that end in '-ctr'; the others need none."""

TOLD = 8
"""So many of the names that a server offers are told."""

_NAME = re.compile(r"[A-Za-z0-9@._+-]{1,64}")
_COOKIE_BYTES = 17
"""SSH_MSG_KEXINIT and its cookie, RFC 4253 section 7.1; then come the lists of names."""


def in_the_way(kexinit: bytes) -> str:
    """Of which kind of algorithm the server that sent this has none of ours; empty where it has, or where it cannot be told."""
    lists = [_names(text) for text in _lists(kexinit)]
    if len(lists) < 6:
        return ""
    kex, host_keys, ciphers, _, macs, _ = lists[:6]
    wanted: list[tuple[str, Sequence[str], Sequence[str]]] = [
        ("key exchange", kex, KEX),
        ("host key type", host_keys, HOST_KEYS),
        ("cipher", ciphers, CIPHERS),
    ]
    chosen = next((name for name in CIPHERS if name in ciphers), "")
    if chosen.endswith("-ctr"):
        wanted.append(("MAC", macs, MACS))
    for kind, offered, ours in wanted:
        if set(offered).isdisjoint(ours):
            told = ", ".join(offered[:TOLD]) + (", ..." if len(offered) > TOLD else "")
            return f"no {kind} is common to both: it offers {told or 'none'}; edgeherd takes {', '.join(ours)}"
    return ""


def _lists(kexinit: bytes) -> Iterator[bytes]:
    rest = kexinit[_COOKIE_BYTES:]
    while len(rest) >= 4:
        length = struct.unpack(">I", rest[:4])[0]
        yield rest[4 : 4 + length]
        rest = rest[4 + length :]


def _names(text: bytes) -> list[str]:
    """Those that may be shown: whoever listens there writes them."""
    return [name for name in text.decode("latin-1").split(",") if _NAME.fullmatch(name)]
