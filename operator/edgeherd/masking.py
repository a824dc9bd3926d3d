"""What looks like a secret in a text. The one place for it: log lines and the texts about files both ask here.

Devices and hubs write what is masked here, so every expression takes time in proportion to the text, whatever is in it.
Quantifiers are possessive, and a run of characters is entered at its beginning only, or consumed to its end even where
nothing is to be hidden in it: no character is read again from the next one on.
"""

import re
from collections.abc import Iterable, Iterator

MASK = "***"
"""What stands in the place of a secret."""

_LOOKS = (
    # The keys of connection strings.
    (
        ("sharedaccesskey", "accountkey"),
        re.compile(r"(?i:SharedAccessKey|AccountKey)\s*+=\s*+(?P<secret>[^\s;,\"']++)"),
    ),
    # A SAS token, whose parts come after '&'.
    (("sig",), re.compile(r"(?i:SharedAccessSignature\s++|\bsig=)(?P<secret>[^\s&\"']++)")),
    # What follows one of these words: in a header, in a URL's encoding, in the middle of something.
    (
        ("sharedaccesskey", "sig", "bearer"),
        re.compile(
            r"(?:SharedAccessKey|SharedAccessSignature|sig|Bearer)(?:\s*+(?:=|%3D)\s*+|\s++)(?P<secret>[^\s;,&\"']++)"
        ),
    ),
    # The login in a URL. It ends at the last '@', because a password may have one; without any the run is passed over.
    (("://",), re.compile(r"://(?:(?P<secret>[^\s\"']+)@|[^\s\"']*+)")),
    # The PIN in a PKCS#11 URI (RFC 7512).
    (("pin-value=",), re.compile(r"[?&]pin-value=(?P<secret>[^\s&\"']++)")),
    # A private key in PEM; to the end of the text where its own end was cut off.
    (
        ("private key-----",),
        re.compile(
            r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))", re.DOTALL
        ),
    ),
    # Long base64 that is filled up, as the 32 or 64 bytes of a key are. Digests in hex and SSH fingerprints are not. Also
    # inside of JSON, where '/' may be '\/', and .NET writes '+' as '\u002B'; an escape's own end begins no run.
    (
        ("=", "\\u003d"),
        re.compile(
            r"(?<![A-Za-z0-9+/])(?!(?<=\\)(?:/|u002[bBfF]))"
            r"(?P<secret>(?:[A-Za-z0-9+/]|\\/|\\u002[bBfF]){42,}+(?:=|\\u003[dD]){1,2}+)"
        ),
    ),
)
"""Expressions, each with words, in small letters: without one of them in the text it is not tried, which is most often."""


def masked(text: str, *, also: Iterable[re.Pattern[str]] = ()) -> str:
    """The text without connection-string keys, SAS signatures, tokens, logins of URLs, private keys and long base64.

    Each expression sees the text as it was, so none hides from another what it looks for. `also` are more of them: what
    their group `secret` matches is hidden.
    """
    spans = sorted(match.span("secret") for match in _matches(text, also))
    shown, end = [], 0
    for start, stop in spans:
        if start >= end:
            shown += [text[end:start], MASK]
        end = max(end, stop)
    return "".join([*shown, text[end:]])


def secrets_of(text: str) -> Iterator[str]:
    """What `masked` hides of a text."""
    return (match["secret"] for match in _matches(text, ()))


def _matches(text: str, also: Iterable[re.Pattern[str]]) -> Iterator[re.Match[str]]:
    folded = text.casefold()
    tried = [expression for words, expression in _LOOKS if any(word in folded for word in words)]
    return (match for each in (*tried, *also) for match in each.finditer(text) if match["secret"])
