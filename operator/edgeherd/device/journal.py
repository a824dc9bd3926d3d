"""What the daemon's log says is in the way of edgeAgent. Pure.

The words are those of iotedged 1.0 and 1.1 (edgelet: iotedged, edgelet-core, edgelet-docker, edgelet-http, iothubservice)
and of aziot-edged and aziot-identityd 1.2 to 1.6. Nothing of the log leaves this module: it may hold secrets.
"""

import enum
import re


class Diagnosis(enum.StrEnum):
    """Why edgeAgent does not run."""

    HUB_NOT_FOUND = "HubNotFound"
    KEY_REFUSED = "KeyRefused"
    NOT_REGISTERED = "NotRegistered"
    PROXY = "Proxy"
    NAME = "Name"
    TLS = "Tls"
    NETWORK = "Network"
    IMAGE_MISSING = "ImageMissing"
    IMAGE_REFUSED = "ImageRefused"
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    IMAGE = "Image"
    ENGINE = "Engine"
    SETTINGS = "Settings"


MOST_LINES = 200
"""So many are asked for."""
MOST_CHARACTERS = 2048

_Rules = tuple[tuple[Diagnosis, str], ...]

_AFRESH = re.compile(r"starting azure iot edge|edge runtime is running|edge runtime status is")
"""What was said before counts no more: the daemon starts, or edgeAgent's container is there."""
_HEAD = re.compile(r"^.*?\[(?:info|warn|err!|error|debug|trace)\] - ")
"""What comes before a record's text: its time, and the simulator's host and program."""
_CAUSE = re.compile(
    r"\s|$|(?:!!! )?caused by|-->|a module runtime error occurred|could not list|error trying to connect"
)
"""A line of a record that began earlier."""

_NOT_OURS = r"^internal server error|^(?:!!! )?authorization error|dps client error"
"""What a module asked for, or about another way of provisioning."""
_AT_ONCE: _Rules = (
    (Diagnosis.SETTINGS, r"could not load settings|failed to load settings"),
    (Diagnosis.HUB_NOT_FOUND, r"iothubnotfound"),
    (
        Diagnosis.NOT_REGISTERED,
        r"edge runtime module has not been created|errorcode\W+4040(?:01|10)\b|(?:device|module)notfound",
    ),
)
_OF_ENGINE = (
    r"could not pull image|failed to pull edge runtime module|container runtime error|could not list modules"
    r"|(?:could not|failed to) initialize module runtime|docker\.sock"
)
_NO_ENGINE = r"trying to connect|socket file could not be found|initialize module runtime"
_OF_DOCKER: _Rules = (
    (Diagnosis.IMAGE_MISSING, r"manifest unknown|manifest for \S+ not found|no matching manifest|no such image"),
    (Diagnosis.IMAGE_REFUSED, r"pull access denied|unauthorized: |denied: |no basic auth credentials"),
    (
        Diagnosis.REGISTRY_UNREACHABLE,
        (
            r"dial tcp|client\.timeout exceeded|i/o timeout|proxyconnect|proxy authentication|tls handshake"
            r"|context deadline exceeded|x509: "
        ),
    ),
    (Diagnosis.IMAGE, r"could not pull image"),
)
_KEY_REFUSED = r"http request failed: \[401|iothubunauthorizedaccess|errorcode\W+401\d{3}\b|http error 401\b"
_REQUEST = r"trying to connect|could not perform http request"
_OF_NETWORK: _Rules = (
    (Diagnosis.PROXY, r"unsuccessful tunnel|while tunnel (?:reading|writing)"),
    (Diagnosis.NAME, r"failed to lookup address information"),
    (Diagnosis.TLS, r"ssl routines|certificate"),
    (Diagnosis.NETWORK, _REQUEST),
)
_LOCAL = re.compile(r"trying to connect: (?:connection refused|no such file|permission denied)")
"""One service of the runtime does not reach another: of TCP it says 'tcp connect error'."""
_HINTS: _Rules = (
    (Diagnosis.IMAGE, r"failed to pull edge runtime module"),
    (Diagnosis.NETWORK, r"network not available for identity reconciliation"),
)
"""The end of a story whose cause stands elsewhere, if anywhere."""

_UNTIL_THEN = frozenset(
    {
        Diagnosis.HUB_NOT_FOUND,
        Diagnosis.KEY_REFUSED,
        Diagnosis.NOT_REGISTERED,
        Diagnosis.PROXY,
        Diagnosis.NAME,
        Diagnosis.TLS,
        Diagnosis.NETWORK,
    }
)
"""What is over when an image is pulled: the hub gave edgeAgent its identity before."""


def diagnose(journal: str) -> Diagnosis | None:
    """The newest failure since the daemon's last start; None where the log says nothing that is known.

    More than `MOST_LINES` are not looked at, nor more of a line than `MOST_CHARACTERS`.
    """
    hint = None
    hub_answered = False
    for record in reversed(_records(journal)):
        hub_answered = hub_answered or record.startswith("pulling image ")
        found = _judge(record)
        if found is None and hint is Diagnosis.IMAGE and record.startswith("container runtime error"):
            found = hint
        if found is not None and not (hub_answered and found in _UNTIL_THEN):
            return found
        hint = hint or _first(_HINTS, record)
    return None if hub_answered and hint in _UNTIL_THEN else hint


def _records(journal: str) -> list[str]:
    """What was said since all began afresh, each with its causes: those are lines of their own."""
    records: list[str] = []
    for line in journal.lower().splitlines()[-MOST_LINES:]:
        text = _HEAD.sub("", line[:MOST_CHARACTERS], count=1)
        if _AFRESH.search(text):
            records.clear()
        elif records and _CAUSE.match(text):
            records[-1] += f"\n{text}"
        else:
            records.append(text)
    return records


def _judge(record: str) -> Diagnosis | None:
    if re.search(_NOT_OURS, record):
        return None
    found = _first(_AT_ONCE, record)
    if found is None and re.search(_OF_ENGINE, record):
        if re.search(_NO_ENGINE, record):
            return Diagnosis.ENGINE
        return _first(_OF_DOCKER, record)
    if found is None and re.search(_KEY_REFUSED, record):
        return Diagnosis.KEY_REFUSED
    if found is None and re.search(_REQUEST, record) and not _is_local(record):
        return _first(_OF_NETWORK, record)
    return found


def _is_local(record: str) -> bool:
    """Whether a line says so of a request. In two steps: one pattern with `.*` would begin anew at each of many requests."""
    heads = (line.partition("failed to send http request")[2] for line in record.split("\n"))
    return any(_LOCAL.search(rest) for rest in heads)


def _first(rules: _Rules, record: str) -> Diagnosis | None:
    return next((found for found, pattern in rules if re.search(pattern, record)), None)
