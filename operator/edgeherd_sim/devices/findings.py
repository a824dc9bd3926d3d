"""What `iotedge check` can find, and how it says so."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["ok", "warning", "ignored", "skipped", "error"]

NO_ENGINE = (
    "Could not communicate with container engine at unix:///var/run/docker.sock.\n"
    "Please check your moby-engine installation and ensure the service is running."
)
DNS = (
    "Container engine is not configured with DNS server setting, which may impact connectivity to IoT Hub.\n"
    "Please see https://aka.ms/iotedge-prod-checklist-dns for best practices.\n"
    "You can ignore this warning if you are setting DNS server per module in the Edge deployment."
)
LOGS = (
    "Container engine is not configured to rotate module logs which may cause it run out of disk space.\n"
    "Please see https://aka.ms/iotedge-prod-checklist-logs for best practices."
)
CERTIFICATES = (
    "The Edge device is using self-signed automatically-generated development certificates.\n"
    "They will expire in 89 days (at {at}) causing module-to-module and downstream device communication to fail on an "
    "active deployment.\nPlease consider using production certificates instead. "
    "See https://aka.ms/iotedge-prod-checklist-certs for best practices."
)
STORAGE = (
    "The {module} module is not configured to persist its {path} directory on the host filesystem.\n"
    "Data might be lost if the module is deleted or updated.\n"
    "Please see https://aka.ms/iotedge-storage-host for best practices."
)
HOST_NAME = (
    "{file} has hostname {found} but device reports hostname {name}.\n"
    "Hostname in {file} must either be identical to the device hostname or be a fully-qualified domain name that has "
    "the device hostname as the first component."
)
STALE = (
    "/etc/aziot/config.toml was modified after IoT Edge's services were configured.\n"
    "You must run 'iotedge config apply' to update IoT Edge's services with the latest configuration."
)
CLOCK = (
    "Time on the device is out of sync with the NTP server. This may cause problems connecting to IoT Hub.\n"
    "Please ensure time on device is accurate, for example by installing an NTP daemon."
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One check. The details come with everything that is not well."""

    id: str
    description: str
    verdict: Verdict = "ok"
    details: tuple[str, ...] = ()
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def good(about: tuple[str, str], *, info: Mapping[str, Any] | None = None) -> Result:
    """All is well."""
    return Result(id=about[0], description=about[1], info=info or {})


def bad(about: tuple[str, str], *details: str, info: Mapping[str, Any] | None = None) -> Result:
    """Something is wrong; the first detail is what people see."""
    return Result(id=about[0], description=about[1], verdict="error", details=details, info=info or {})


def warned(about: tuple[str, str], text: str) -> Result:
    """It works, but somebody should know."""
    return Result(id=about[0], description=about[1], verdict="warning", details=(text,))


def skipped(about: tuple[str, str]) -> Result:
    """Something that it needs is not there."""
    return Result(id=about[0], description=about[1], verdict="skipped")


def ignored(about: tuple[str, str]) -> Result:
    """It does not concern this device."""
    return Result(id=about[0], description=about[1], verdict="ignored")


_MARKS = {"ok": "√ {} - OK", "warning": "‼ {} - Warning", "error": "× {} - Error"}  # noqa: RUF001 - as the program prints it


def text(results: list[Result]) -> str:
    """What people read: skipped and ignored checks are not shown."""
    lines: list[str] = []
    for result in results:
        if result.verdict in _MARKS:
            lines.append(_MARKS[result.verdict].format(result.description))
            lines += [f"    {line}" for line in (result.details[0].splitlines() if result.details else [])]
    counts = {verdict: sum(result.verdict == verdict for result in results) for verdict in ("ok", "warning", "error")}
    lines.append(f"{counts['ok']} check(s) succeeded.")
    for verdict in ("warning", "error"):
        if counts[verdict]:
            lines.append(f"{counts[verdict]} check(s) raised {verdict}s. Re-run with --verbose for more details.")
    return "\n".join(lines)
