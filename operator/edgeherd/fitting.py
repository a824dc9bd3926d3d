"""What a status and an Event may hold, and everything made to fit before it is sent. Pure.

One field that does not fit, and the API server refuses all of a status: nothing of what a pass found would be known to
the next one, nor shown to anybody. The bounds are those of `crds/`; a test compares them.
"""

import dataclasses
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from edgeherd.model import CheckReport, Condition, DeviceStatus, Finding, IdentityStatus, PlannedChange, Status

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string of the schema; lengths are in characters. `allowed` are all its values, where they are counted up."""

    most: int
    least: int = 0
    pattern: str = ""
    allowed: tuple[str, ...] = ()
    format: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """An integer of the schema."""

    least: int
    most: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list of the schema: no two items have the same `key`; or are the same, where it has none."""

    most: int
    key: str = ""


_GENERATION = 9007199254740991
_HASH = Text(least=71, most=71, pattern="^sha256:[0-9a-f]{64}$")
_FINGERPRINT = Text(least=50, most=50, pattern="^SHA256:[A-Za-z0-9+/]{43}$")
_DNS_NAME = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

TEXTS: Mapping[str, Text] = {
    "conditions[].type": Text(
        least=1,
        most=316,
        pattern=rf"^({_DNS_NAME}(\.{_DNS_NAME})*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    ),
    "conditions[].status": Text(most=32, allowed=("True", "False", "Unknown")),
    "conditions[].lastTransitionTime": Text(most=64, format="date-time"),
    "conditions[].reason": Text(least=1, most=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    "conditions[].message": Text(most=32768),
    "identity.hubHostName": Text(least=1, most=253, pattern="^[A-Za-z0-9_.-]+$"),
    "identity.deviceId": Text(least=1, most=128, pattern=r"^[A-Za-z0-9:.+%_#*?!(),@$-]+$"),
    "identity.generationId": Text(most=128),
    "identity.etag": Text(most=128),
    "identity.origin": Text(most=32, allowed=("Created", "Adopted")),
    "identity.status": Text(most=32, allowed=("Enabled", "Disabled")),
    "secretName": Text(least=1, most=253, pattern="^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"),
    "device.runtimeVersion": Text(most=64),
    "device.agentImageVersion": Text(most=64),
    "device.dialect": Text(most=32, allowed=("ConfigYaml", "ConfigToml")),
    "device.configHash": _HASH,
    "device.hostKeyFingerprint": _FINGERPRINT,
    "device.jumpHostKeyFingerprint": _FINGERPRINT,
    "device.rejectedHash": _HASH,
    "check.handledAt": Text(most=256),
    "check.verdict": Text(most=32, allowed=("Passed", "Failed", "Unavailable")),
    "check.errors[].id": Text(least=1, most=64),
    "check.errors[].message": Text(most=1024),
    "check.warnings[]": Text(least=1, most=64),
    "plan[].path": Text(least=1, most=512),
    "plan[].action": Text(most=32, allowed=("Add", "Change", "Remove")),
    "plan[].restart": Text(most=32, allowed=("None", "Daemon")),
    "plan[].before": Text(most=256),
    "plan[].after": Text(most=256),
    "lastHandledReconcileAt": Text(most=256),
}
NUMBERS: Mapping[str, Number] = {
    "conditions[].observedGeneration": Number(least=0, most=_GENERATION),
    "observedGeneration": Number(least=-1, most=_GENERATION),
    "device.appliedGeneration": Number(least=0, most=_GENERATION),
}
LISTS: Mapping[str, Items] = {
    "conditions": Items(most=16, key="type"),
    "check.errors": Items(most=32, key="id"),
    "check.warnings": Items(most=32),
    "plan": Items(most=64, key="path"),
}
"""Every bounded field of both kinds' status, by its path."""

EVENT_BYTES = 1024
"""Of an Event's message: what `events.k8s.io` allows. The core API has no limit of its own (seen with 1.36)."""

EVENT_REASON = 128

_SURROGATES = re.compile("[\ud800-\udfff]")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_LONG_AGO = "1970-01-01T00:00:00Z"


def cut(text: str, most: int) -> str:
    """A text of at most so many characters; one that was cut ends in '...'. Half characters become U+FFFD.

    The hub's JSON can have half a surrogate pair in it; no API server can store one.
    """
    whole = _SURROGATES.sub("\ufffd", text)
    return whole if len(whole) <= most else f"{whole[: most - 3]}..."


def request(value: str) -> str:
    """What an annotation asks for, short enough to be compared with the status that answers it.

    A longer value ends in its digest, so that another one is another request.
    """
    bound = TEXTS["lastHandledReconcileAt"]
    if len(value) <= bound.most:
        return value
    digest = f" sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return value[: bound.most - len(digest)] + digest


def event_message(text: str) -> str:
    """The message of an Event, as long as it may be: it is counted in bytes."""
    whole = _SURROGATES.sub("\ufffd", text)
    if len(whole.encode()) <= EVENT_BYTES:
        return whole
    return whole.encode()[: EVENT_BYTES - 3].decode("utf-8", "ignore") + "..."


def event_prefix(name: str) -> str:
    """What the name of an Event begins with: a DNS name may not have a '.' behind a '-' or another '.'."""
    return f"{name[:50].rstrip('-.')}."


def fit(status: Status) -> Status:
    """The status as the schema accepts it. What fits already is as it was; what cannot be cut is left out."""
    return Status(
        observed_generation=_number("observedGeneration", status.observed_generation),
        conditions=fit_conditions(status.conditions),
        identity=_identity(status.identity),
        secret_name=_text("secretName", status.secret_name),
        device=_device(status.device),
        plan=_plan(status.plan),
        check=_check(status.check) if status.check is not None else None,
        last_handled_reconcile_at=_text("lastHandledReconcileAt", status.last_handled_reconcile_at),
    )


def fit_conditions(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Conditions as the schema accepts them: none without a type, no type twice."""
    return _unique("conditions", map(_condition, conditions), key=lambda condition: condition.type)


def fit_generation(generation: int) -> int:
    """The observed generation as the schema accepts it."""
    return _number("observedGeneration", generation)


def _text(at: str, value: str) -> str:
    """A text that fits; empty where cutting it would make another value of it."""
    bound = TEXTS[at]
    if bound.allowed:
        return value if value in bound.allowed else ""
    if bound.pattern:
        fits = bound.least <= len(value) <= bound.most and re.fullmatch(bound.pattern, value)
        return value if fits else ""
    return cut(value, bound.most)


def _number(at: str, value: int) -> int:
    bound = NUMBERS[at]
    return min(max(value, bound.least), bound.most)


def _unique(at: str, items: Iterable[_T], *, key: Callable[[_T], str]) -> tuple[_T, ...]:
    """The first item for each key, as many as there may be; none without a key."""
    first: dict[str, _T] = {}
    for item in items:
        if key(item):
            first.setdefault(key(item), item)
    return tuple(first.values())[: LISTS[at].most]


def _condition(condition: Condition) -> Condition:
    return Condition(
        type=_text("conditions[].type", condition.type),
        status=_text("conditions[].status", condition.status) or "Unknown",
        reason=_reason(condition.reason),
        message=_text("conditions[].message", condition.message),
        observed_generation=_number("conditions[].observedGeneration", condition.observed_generation),
        last_transition_time=_time(condition.last_transition_time),
    )


def _reason(reason: str) -> str:
    at = "conditions[].reason"
    kept = re.sub(r"[^A-Za-z0-9_,:]", "", reason[: TEXTS[at].most])
    return _text(at, re.sub(r"^[^A-Za-z]+", "", kept).rstrip(",:")) or "Unknown"


def _time(text: str) -> str:
    """A time of RFC 3339. No pass writes another; one that did must not cost the condition."""
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return _LONG_AGO
    return text if _TIME.fullmatch(text) else _LONG_AGO


def _identity(identity: IdentityStatus) -> IdentityStatus:
    return IdentityStatus(
        hub_host_name=_text("identity.hubHostName", identity.hub_host_name),
        device_id=_text("identity.deviceId", identity.device_id),
        # Cut, not left out: an empty one would say that the identity was never seen. A cut one equals none of the hub's.
        generation_id=_text("identity.generationId", identity.generation_id),
        etag=_text("identity.etag", identity.etag),
        origin=identity.origin,
        status=_text("identity.status", identity.status),
    )


def _device(device: DeviceStatus) -> DeviceStatus:
    applied = device.applied_generation
    return DeviceStatus(
        runtime_version=_text("device.runtimeVersion", device.runtime_version),
        agent_image_version=_text("device.agentImageVersion", device.agent_image_version),
        dialect=_text("device.dialect", device.dialect),
        config_hash=_text("device.configHash", device.config_hash),
        applied_generation=None if applied is None else _number("device.appliedGeneration", applied),
        host_key_fingerprint=_text("device.hostKeyFingerprint", device.host_key_fingerprint),
        jump_host_key_fingerprint=_text("device.jumpHostKeyFingerprint", device.jump_host_key_fingerprint),
        rejected_hash=_text("device.rejectedHash", device.rejected_hash),
    )


def _check(check: CheckReport) -> CheckReport:
    errors = (
        Finding(
            id=_text("check.errors[].id", finding.id),
            message=_text("check.errors[].message", finding.message),
        )
        for finding in check.errors
    )
    return CheckReport(
        handled_at=_text("check.handledAt", check.handled_at),
        verdict=_text("check.verdict", check.verdict) or "Unavailable",
        errors=_unique("check.errors", errors, key=lambda finding: finding.id),
        warnings=_unique("check.warnings", (_text("check.warnings[]", id_) for id_ in check.warnings), key=str),
    )


def _plan(plan: tuple[PlannedChange, ...]) -> tuple[PlannedChange, ...]:
    """All changes, as many as there may be. Two of one path are two changes, so the second gets a number."""
    found: dict[str, PlannedChange] = {}
    for change in plan[: LISTS["plan"].most]:
        path = _free_path(_text("plan[].path", change.path) or "?", found)
        found[path] = PlannedChange(
            path=path,
            action=_text("plan[].action", change.action) or "Change",
            restart=_text("plan[].restart", change.restart) or "Daemon",
            before=_text("plan[].before", change.before),
            after=_text("plan[].after", change.after),
        )
    return tuple(found.values())


def _free_path(path: str, taken: Mapping[str, object]) -> str:
    free, number = path, 1
    while free in taken:
        number += 1
        free = cut(path, TEXTS["plan[].path"].most - 5) + f" ({number})"
    return free
