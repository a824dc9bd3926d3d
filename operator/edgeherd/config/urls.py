"""URLs as the daemons read them: the crate `url` (1.7 in IoT Edge 1.0 to 1.2, 2.x since), which keeps to the WHATWG's standard.

Only what makes an address none is looked at: scheme, host and port. Sources: url/src/parser.rs and host.rs, and
aziot-keys-common of Azure/iot-identity-service for the places of keys.
"""

import dataclasses
import ipaddress
import re
import unicodedata
from urllib.parse import unquote, unquote_to_bytes

_SPECIAL = frozenset({"http", "https", "ws", "wss", "ftp"})
_AROUND = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_FORBIDDEN = re.compile(r"[\0\t\n\r #/:<>?@\[\\\]^|]")
_FORBIDDEN_DOMAIN = re.compile(r"[\0-\x20#/:<>?@\[\\\]^|%\x7f]")
_FORBIDDEN_BEFORE = re.compile(r"[\0\t\n\r #/:?@\[\\\]]")
_FORBIDDEN_DOMAIN_BEFORE = re.compile(r"[\0\t\n\r #/:?@\[\\\]%]")
"""What the crate forbade before 2.0."""
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DRIVE = re.compile(r"[A-Za-z][:|]")


class _NoUrlError(ValueError):
    """It is none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Url:
    """What counts of a URL. `host` is empty for none, and for `localhost` of a file."""

    scheme: str
    host: str


def parsed(text: str, *, before_2: bool = False) -> Url | None:
    """A URL taken apart; None for a text that is none. `before_2` asks as version 1.7 of the crate does."""
    text = re.sub(r"[\t\n\r]", "", text.strip(_AROUND))
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    name, rest = scheme[1].lower(), text[scheme.end() :]
    try:
        return Url(name, _host(name, rest, before_2))
    except _NoUrlError:
        return None


def is_file(text: str) -> bool:
    """Whether it is the URL of a file on the same machine."""
    url = parsed(text)
    return url is not None and url.scheme == "file" and not url.host


def is_place_of_key(text: str) -> bool:
    """Whether keys can be there: a file, or an object in a PKCS#11 token (`PreloadedKeyLocation`)."""
    if text.startswith("file:"):
        return is_file(text)
    return text.startswith("pkcs11:") and _is_pkcs11(text.removeprefix("pkcs11:"))


def _is_pkcs11(text: str) -> bool:
    """RFC 7512 as pkcs11/src/lib.rs reads it: a slot or a token must be named."""
    path, _, query = text.partition("?")
    found: dict[bytes, str] = {}
    for part, names in ((path.split(";"), {b"object", b"slot-id", b"token"}), (query.split("&"), {b"pin-value"})):
        for pair in part:
            name, _, value = pair.partition("=")
            key = unquote_to_bytes(name)
            if key in names:
                try:
                    found[key] = unquote_to_bytes(value).decode()
                except UnicodeDecodeError:
                    return False
    slot = found.get(b"slot-id")
    if slot is not None and not (re.fullmatch(r"\+?[0-9]+", slot) and int(slot[:21]) < 2**64):
        return False
    return slot is not None or b"token" in found


def _host(scheme: str, rest: str, before_2: bool) -> str:
    """The host, parsed.

    Raises:
        _NoUrlError: host or port is none.
    """
    if scheme == "file":
        return _file_host(rest, before_2)
    if scheme in _SPECIAL:
        authority = re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0]
    elif rest.startswith("//"):
        authority = re.split(r"[/?#]", rest[2:], maxsplit=1)[0]
    else:
        return ""
    login, at, address = authority.rpartition("@")
    name, port = re.fullmatch(r"(\[[^\]]*\]?|[^:]*)(.*)", address, re.DOTALL).groups()  # type: ignore[union-attr] # it fits all
    if port and not (re.fullmatch(r":[0-9]*", port) and int(port[1:6] or 0) < 2**16 and len(port.lstrip(":0")) < 6):
        raise _NoUrlError
    if not name and (scheme in _SPECIAL or port or (at and login)):
        raise _NoUrlError
    return _parsed_host(name, scheme in _SPECIAL, before_2)


def _file_host(rest: str, before_2: bool) -> str:
    if not re.match(r"[/\\]{2}", rest):
        return ""
    authority = re.split(r"[/\\?#]", rest[2:], maxsplit=1)[0]
    if not authority or _DRIVE.fullmatch(authority):
        return ""
    host = _parsed_host(authority, True, before_2)
    return "" if host == "localhost" else host


def _parsed_host(name: str, special: bool, before_2: bool) -> str:
    if name.startswith("["):
        try:
            if not name.endswith("]") or "%" in name:
                raise _NoUrlError
            return str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            raise _NoUrlError from None
    if not special:
        if (_FORBIDDEN_BEFORE if before_2 else _FORBIDDEN).search(name):
            raise _NoUrlError
        return name
    domain = unicodedata.normalize("NFKC", unquote(name)).lower()
    forbidden = _FORBIDDEN_DOMAIN_BEFORE if before_2 else _FORBIDDEN_DOMAIN
    if not domain or forbidden.search(domain) or not all(map(_is_domain_letter, domain)):
        raise _NoUrlError
    parts = domain.removesuffix(".").split(".")
    looks_like_ipv4 = all(map(_NUMBER.fullmatch, parts if before_2 else parts[-1:]))
    if looks_like_ipv4 and not _is_ipv4(parts):
        raise _NoUrlError
    return domain


def _is_domain_letter(char: str) -> bool:
    return char.isascii() or unicodedata.category(char)[0] not in "CZ"


def _is_ipv4(parts: list[str]) -> bool:
    """An address of one to four numbers, decimal, octal or hexadecimal; the last fills what is left."""
    if len(parts) > 4:
        return False
    numbers = []
    for part in parts:
        base, digits = (16, part[2:] or "0") if part.startswith("0x") else (8, part) if part[:1] == "0" else (10, part)
        try:
            numbers.append(int(digits[:40], base))
        except ValueError:
            return False
    return all(number < 2**8 for number in numbers[:-1]) and numbers[-1] < 256 ** (5 - len(parts))
