"""Shared access signatures: made, read and checked. Pure."""

import base64
import binascii
import dataclasses
import hashlib
import hmac
import urllib.parse
from collections.abc import Iterable

from edgeherd_sim.hub.errors import HubError

SCHEME = "SharedAccessSignature"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it came: `signed` is the resource as the signature covers it, `resource` is decoded."""

    resource: str
    signed: str
    signature: bytes = dataclasses.field(repr=False)
    expiry: int
    policy: str | None


def make(resource: str, key: str, *, expiry: int, policy: str | None = None) -> str:
    """The value of an `Authorization` header for a resource such as `localhost:443` or `localhost/devices/one`."""
    signed = urllib.parse.quote_plus(resource)
    signature = urllib.parse.quote(base64.b64encode(_sign(signed, expiry, key)), safe="")
    name = "" if policy is None else f"&skn={policy}"
    return f"{SCHEME} sr={signed}&sig={signature}&se={expiry}{name}"


def parse(header: str) -> Token:
    """The token of an `Authorization` header, unchecked."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme != SCHEME:
        raise unauthorized()
    fields = dict(part.partition("=")[::2] for part in rest.strip().split("&"))
    try:
        return Token(
            resource=urllib.parse.unquote_plus(fields["sr"]),
            signed=fields["sr"],
            signature=base64.b64decode(urllib.parse.unquote(fields["sig"]), validate=True),
            expiry=int(fields["se"]),
            policy=urllib.parse.unquote_plus(fields["skn"]) if fields.get("skn") else None,
        )
    except (KeyError, ValueError, binascii.Error):
        raise unauthorized() from None


def valid(token: Token, keys: Iterable[str], *, now: float) -> bool:
    """Whether the token has not expired and one of the keys signed it.

    Clients differ in how they encode the resource; the signature covers their own form, or the canonical one.
    """
    if token.expiry <= now:
        return False
    forms = {token.signed, urllib.parse.quote_plus(token.resource)}
    digests = [_sign(form, token.expiry, key) for key in keys for form in forms]
    return any(hmac.compare_digest(token.signature, digest) for digest in digests)


def covers(token: Token, hosts: Iterable[str], path: str) -> bool:
    """Whether the token's resource is one of the hosts (any port), or a part of it that the decoded path lies in."""
    authority, _, prefix = token.resource.partition("/")
    host = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdigit() else authority
    if host.lower().strip("[]") not in {name.lower() for name in hosts}:
        return False
    # Some clients encode ids once more than others; ids that look encoded are legal too.
    forms = ["/" + form.strip("/") for form in (prefix, urllib.parse.unquote(prefix))]
    return any(form in {"/", path} or path.startswith(form + "/") for form in forms)


def unauthorized() -> HubError:
    """What the hub says to everyone whom it does not let in, whatever the reason."""
    return HubError("IotHubUnauthorizedAccess", "Unauthorized")


def ids(segment: str) -> tuple[str, ...]:
    """What an id inside a decoded resource may be: some clients encode ids once more."""
    return (segment, urllib.parse.unquote(segment))


def _sign(resource: str, expiry: int, key: str) -> bytes:
    return hmac.digest(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256)
