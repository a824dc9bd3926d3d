"""What the daemon's log says is in the way of edgeAgent. Pure.

The words are those of iotedged 1.0 and 1.1 (edgelet: iotedged, edgelet-core, edgelet-docker, edgelet-http, iothubservice)
and of aziot-edged and aziot-identityd 1.2 to 1.6. Nothing of the log leaves this module: it may hold secrets.
"""

import enum
import re


class Trouble(enum.StrEnum):
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


_START = re.compile(r"starting azure iot edge")
_BLOCK = re.compile(
    r"error in watchdog|edge runtime module has not been created|could not start up successfully"
    r"|failed to provision|failed to initialize module runtime|hub client error|container runtime error"
    r"|failed to send http request|could not load settings|failed to load settings"
    r"|network not available for identity reconciliation"
)
"""What a failure begins with; its causes are in the lines after it, until the next one."""

_CONNECT = r"trying to connect|could not perform http request|failed to send http request|connection error"
_PULL = r"could not pull image|failed to pull edge runtime module|registry operation error|pull image"
_RULES: tuple[tuple[Trouble, str], ...] = (
    (Trouble.SETTINGS, r"could not load settings|failed to load settings"),
    (Trouble.HUB_NOT_FOUND, r"iothubnotfound"),
    (Trouble.NOT_REGISTERED, r"edge runtime module has not been created|errorcode\W+4040(?:01|10)|devicenotfound"),
    (Trouble.IMAGE_MISSING, r"manifest unknown|manifest for .* not found|no matching manifest|no such image"),
    (Trouble.IMAGE_REFUSED, r"pull access denied|unauthorized: |denied: |no basic auth credentials"),
    (
        Trouble.REGISTRY_UNREACHABLE,
        r"dial tcp|no such host|client\.timeout exceeded|i/o timeout|proxyconnect|deadline has elapsed",
    ),
    (
        Trouble.KEY_REFUSED,
        (
            r"http request failed: \[401|http response error: \[401|iothubunauthorizedaccess|errorcode\W+401\d{3}"
            r"|http error 401|invalid signed token"
        ),
    ),
    (Trouble.PROXY, r"unsuccessful tunnel|while tunnel (?:reading|writing)"),
    (Trouble.ENGINE, r"could not initialize module runtime|failed to initialize module runtime|docker\.sock"),
    (Trouble.NAME, r"failed to lookup address information"),
    (Trouble.TLS, r"ssl routines|certificate verify failed"),
)


def trouble(journal: str) -> Trouble | None:
    """The newest failure since the daemon's last start; None where the log says nothing that is known."""
    lines = journal.lower().splitlines()
    for number in range(len(lines) - 1, -1, -1):
        if _START.search(lines[number]):
            lines = lines[number + 1 :]
            break
    blocks: list[list[str]] = []
    for line in lines:
        # A failure that is told in several records is one: the cause may stand before the headline or after it.
        if _BLOCK.search(line) and not (blocks and _BLOCK.search(blocks[-1][-1])):
            blocks.append([])
        if blocks:
            blocks[-1].append(line)
    for block in reversed(blocks):
        found = _judge("\n".join(block))
        if found is not None:
            return found
    return None


def _judge(block: str) -> Trouble | None:
    for found, pattern in _RULES:
        if re.search(pattern, block):
            return found
    is_engine = re.search(r"container runtime error|could not list modules", block)
    if is_engine and re.search(r"trying to connect|socket file", block):
        return Trouble.ENGINE
    if re.search(_PULL, block):
        return Trouble.ENGINE if re.search(r"trying to connect", block) else Trouble.IMAGE
    if re.search(_CONNECT, block):
        return Trouble.NETWORK
    return None
