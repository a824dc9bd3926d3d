"""The string formats of a schema that are checked."""

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final


def _by(parse: Callable[[str], object]) -> Callable[[str], bool]:
    """A check that a parser makes by not failing."""

    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})"
)


def _date_time(text: str) -> datetime:
    if _DATE_TIME.fullmatch(text) is None:
        raise ValueError(text)
    return datetime.fromisoformat(text.upper())


def _date(text: str) -> date:
    if len(text) != len("2006-01-02"):
        raise ValueError(text)
    return date.fromisoformat(text)


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "datetime": _by(_date_time),
    "date": _by(_date),
    "ipv4": _by(ipaddress.IPv4Address),
    "ipv6": _by(ipaddress.IPv6Address),
    "cidr": _by(lambda text: ipaddress.ip_network(text, strict=False) if "/" in text else int("")),
    "uuid": _by(uuid.UUID),
}
"""The formats that are checked. A schema with another one that the server checks is refused by `crd_checks`."""
