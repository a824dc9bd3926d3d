"""`iotedge check`, summarised. Pure; nothing of the device's own text gets through, because it may quote secrets.

Check ids: edgelet/iotedge/src/check of 1.1.15 and 1.5.44, aziotctl/src/internal/check of iot-identity-service 1.5.6.
"""

import json
import re

from edgeherd.model import CheckReport, Finding

MOST = 32
"""So many errors, and so many warnings, are shown."""

_ID = re.compile(r"\(?[a-z][a-z0-9_-]{0,61}\)?")
"""What ids look like; a device that makes up others is not quoted."""

_NEXT_STEPS = (
    (
        r".*config(?:-yaml)?-well-formed",
        "The daemon's file cannot be read as it should. Run 'edgeherd config check' on it.",
    ),
    (r"connection-string", "The connection string in the daemon's file is malformed."),
    (r"configs?-up-to-date", "The file was changed and 'iotedge config apply' was not run since."),
    (r"container-engine-uri", "The container engine is not installed, not running, or not reachable."),
    (r"windows-host-version", "This version of Windows cannot run the modules' containers."),
    (r"hostname", "The host name in the daemon's file is not the machine's. Set spec.runtime.hostname."),
    (r"parent_hostname", "The name of the parent device in the daemon's file is malformed."),
    (r"connect-management-uri", "Modules cannot reach the daemon's management socket."),
    (
        r"iotedged-version|aziot-version|aziot-edge-version",
        "The runtime is not the latest release, or the latest could not be looked up.",
    ),
    (r".*-local-time", "The clock is wrong, or the time server cannot be reached."),
    (
        r".*certificate.*|certs-.*|local-ca-.*",
        "A certificate is missing, does not fit its key, is expired or about to expire, or is meant for trials.",
    ),
    (r"key-pairs-read", "A private key cannot be read by the key service."),
    (r"est-server-https", "The server that issues certificates (EST) has no address with https."),
    (r"host-connect-dps-endpoint", "The provisioning service cannot be reached from the host."),
    (r"host-connect-.*", "The host cannot reach the hub on this port. Check network, firewall and proxy."),
    (
        r"container-(?:default-)?connect-.*",
        "A container cannot reach the hub on this port. Check the container network and proxy.",
    ),
    (
        r"container-engine-dns|container-resolve-.*",
        "Names cannot be looked up in containers. Set the engine's DNS servers.",
    ),
    (r"container-engine-ipv6", "IPv6 in the daemon's file and in the container engine differ."),
    (r"container-engine-is-moby", "The container engine is not one that Microsoft supports."),
    (r"container-engine-logrotate", "The container engine's logs may grow without a limit."),
    (
        r"edge-(?:agent|hub)-storage-.*",
        "What this module stores is lost with its container: no folder of the host is mounted.",
    ),
    (r".*-running|.*identity-service-error.*", "A service of the runtime does not run."),
    (r"check-agent-image", "edgeAgent's image does not fit the runtime. Set spec.runtime.agent.image."),
    (r"proxy-settings", "The proxy settings of daemon, identity service, engine and edgeAgent differ."),
)


def report(text: str, *, handled_at: str) -> CheckReport:
    """What `iotedge check --output json` printed, as ids and sentences of our own."""
    results = _results(text)
    if not results:
        return CheckReport(handled_at=handled_at, verdict="Unavailable")
    errors = [id_ for id_, result in results if result in {"error", "fatal"}][:MOST]
    warnings = [id_ for id_, result in results if result == "warning"][:MOST]
    return CheckReport(
        handled_at=handled_at,
        verdict="Failed" if errors else "Passed",
        errors=tuple(Finding(id=id_, message=_next_step(id_)) for id_ in errors),
        warnings=tuple(warnings),
    )


def _results(text: str) -> list[tuple[str, str]]:
    """The checks with their results; none where the text is not what `check` prints."""
    try:
        found = json.loads(text)["checks"]
        pairs = [(id_, check["result"]["result"]) for id_, check in found.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return [(id_, result) for id_, result in pairs if _ID.fullmatch(id_) and isinstance(result, str)]


def _next_step(id_: str) -> str:
    return next(
        (message for pattern, message in _NEXT_STEPS if re.fullmatch(pattern, id_)),
        "See 'iotedge check' on the device.",
    )
