"""Single values of config.toml that the daemons of 1.2 and later take apart themselves.

Sources, in Azure/iotedge and Azure/iot-identity-service at the tags of 1.2.0 to 1.6.1: edgelet-settings/src/base/image.rs,
cert-renewal/src/policy.rs, aziotctl-common/src/config/mod.rs, aziot-tpmd-config/src/lib.rs; and the crates humantime and chrono.
"""

import base64
import binascii
import dataclasses
import fractions
import re
from typing import Any

from edgeherd.config import urls
from edgeherd.config.shapes import Item, Problems, Str, complain
from edgeherd.config.values import Version

_MICRO, _SECOND = 10**3, 10**9
_DAY = 86_400 * _SECOND
_UNITS: dict[str, int] = {
    **dict.fromkeys(("nanos", "nsec", "ns"), 1),
    **dict.fromkeys(("usec", "us"), _MICRO),
    **dict.fromkeys(("millis", "msec", "ms"), _MICRO**2),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), _SECOND),
    **dict.fromkeys(("minutes", "minute", "min", "mins", "m"), 60 * _SECOND),
    **dict.fromkeys(("hours", "hour", "hr", "hrs", "h"), 3_600 * _SECOND),
    **dict.fromkeys(("days", "day", "d"), _DAY),
    **dict.fromkeys(("weeks", "week", "w"), 7 * _DAY),
    **dict.fromkeys(("months", "month", "M"), 2_630_016 * _SECOND),
    **dict.fromkeys(("years", "year", "y"), 31_557_600 * _SECOND),
}
"""humantime 2.1, in nanoseconds: a month has 30.44 days, a year 365.25."""
_NEWER_UNITS = {"µs": _MICRO, "wk": 7 * _DAY, "wks": 7 * _DAY, "yr": _UNITS["year"], "yrs": _UNITS["year"]}
_NEWER = (1, 6)
"""The first version with humantime 2.3, which knows fractions and more units, and chrono 0.4.44."""
_SPAN = re.compile(r"([0-9][0-9\s]*)(\.[0-9\s]*)?([A-Za-zµ]+)(?=[0-9\s]|\Z)\s*")


def nanoseconds(text: str, version: Version) -> int | None:
    """A duration such as '1day 12h'; None for one that the daemon cannot read."""
    newer = version.numbers >= _NEWER
    if newer and text == "0":
        return 0
    units = {**_UNITS, **_NEWER_UNITS} if newer else _UNITS
    place, total = len(text) - len(text.lstrip()), fractions.Fraction(0)
    if place == len(text):
        return None
    while place < len(text):
        found = _SPAN.match(text, place)
        if found is None or found[3] not in units:
            return None
        whole, part = re.sub(r"\s", "", found[1]), re.sub(r"\s", "", found[2] or "")
        if found[2] is not None and (not newer or part == "." or units[found[3]] == 1):
            return None
        added = fractions.Fraction(whole + part) * units[found[3]]
        step = _SECOND if units[found[3]] >= 3_600 * _SECOND else 1
        if added % step or added >= 2**64 * _SECOND:
            return None
        total += added
        place = found.end()
    return int(total)


@dataclasses.dataclass(frozen=True, slots=True)
class Duration:
    """A span of time as humantime reads it; with `days`, a multiple of a day."""

    version: Version
    days: bool = False

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        """See `Shape`."""
        said = Str().read(item, path, problems)
        if said is None:
            return None
        length = nanoseconds(said, self.version)
        if length is None:
            return complain(problems, item.line, "value", f"{path} must be a time span such as '1d' or '12h 30m'.")
        if self.days and length % _DAY:
            return complain(problems, item.line, "value", f"{path} must be a multiple of a day, such as '1d' or '48h'.")
        return length


@dataclasses.dataclass(frozen=True, slots=True)
class TimeOfDay:
    """Hours and minutes: '%H:%M' of chrono."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        """See `Shape`."""
        said = Str().read(item, path, problems)
        if said is None:
            return None
        found = re.fullmatch(r"\s*([0-9]{1,2}):\s*([0-9]{1,2})", said)
        if not found or int(found[1]) > 23 or int(found[2]) > 59:
            return complain(problems, item.line, "value", f"{path} must be a time of day from '00:00' to '23:59'.")
        return f"{int(found[1]):02}:{int(found[2]):02}"


@dataclasses.dataclass(frozen=True, slots=True)
class RenewalPolicy:
    """When a certificate is renewed: a part of its life in percent, or a time before its end."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        """See `Shape`."""
        said = Str().read(item, path, problems)
        if said is None:
            return None
        found = re.fullmatch(r"\+?([0-9]+)(%|min|day)", said)
        number = int(found[1][:20]) if found else 0
        if not found or not 0 < number < 2**63 or (found[2] == "%" and number >= 100):
            message = f"{path} must be '1%' to '99%', or so many minutes or days: '30min', '10day'."
            return complain(problems, item.line, "value", message)
        return said


@dataclasses.dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is: a file or an object in a PKCS#11 token."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        """See `Shape`."""
        said = Str().read(item, path, problems)
        if said is not None and not urls.is_place_of_key(said):
            message = f"{path} must be file:///path, or a pkcs11: URI with a token or a slot-id."
            return complain(problems, item.line, "uri", message)
        return said


@dataclasses.dataclass(frozen=True, slots=True)
class CString:
    """A text without a NUL, or its bytes one by one."""

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        """See `Shape`."""
        if isinstance(item.value, list):
            numbers = [inner.value for inner in item.value]
            if all(type(number) is int and 0 < number < 2**8 for number in numbers):
                return numbers
        said = Str().read(item, path, problems)
        if said is not None and "\0" in said:
            return complain(problems, item.line, "value", f"{path} must have no NUL in it.")
        return said


def takes_key(text: str, version: Version) -> bool:
    """Whether a key in base64 is one to that version: padded rightly, or not at all.

    1.4.9 alone insists on the padding (`base64` 0.21 does, and the fallback came with 1.4.10).
    """
    bare = text.rstrip("=")
    if not re.fullmatch(r"[A-Za-z0-9+/]*", bare) or len(bare) % 4 == 1:
        return False
    padding = "=" * (-len(bare) % 4)
    if text != bare + padding and (text != bare or version.numbers[:3] == (1, 4, 9)):
        return False
    try:
        decoded = base64.b64decode(bare + padding, validate=True)
    except binascii.Error:
        return False
    # Bits left over at the end must be zero (Rust's base64 says InvalidLastSymbol).
    return base64.b64encode(decoded).decode().rstrip("=") == bare


@dataclasses.dataclass(frozen=True, slots=True)
class Base64:
    """A key."""

    version: Version

    def read(self, item: Item, path: str, problems: Problems) -> Any:
        """See `Shape`."""
        said = Str().read(item, path, problems)
        if said is not None and not takes_key(said, self.version):
            message = f"{path} is not base64 of the standard alphabet with the right padding. Copy the key again."
            return complain(problems, item.line, "base64", message)
        return said
