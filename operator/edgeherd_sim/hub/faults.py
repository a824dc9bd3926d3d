"""Faults on order: what a real hub does on its bad days, a chosen number of times or for a chosen time. Pure."""

import dataclasses
import enum
import re
import time
from collections.abc import Callable
from typing import Any

from edgeherd_sim.hub.errors import CODES, HubError


class Kind(enum.StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    """429 ThrottlingBacklogTimeout, without Retry-After."""
    ERROR = "error"
    """A refusal by `code`, before anything is done."""
    DROP = "drop"
    """The connection is cut before anything is done."""
    DROP_AFTER_COMMIT = "drop-after-commit"
    """The connection is cut after everything was done."""
    LATENCY = "latency"
    """The answer comes `delay` seconds late."""
    REFUSE_CREDENTIAL = "refuse-credential"
    """401, whatever the credential."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Fault:
    """One order. It is spent after `count` requests or at `until`; without both it stays."""

    kind: Kind
    code: str = "ServiceUnavailable"
    delay: float = 0.0
    count: int | None = None
    until: float | None = None
    method: str = ""
    path: str = ""

    def hits(self, method: str, path: str) -> bool:
        """Whether a request is meant: `method` exactly, `path` by a regular expression that is searched in it."""
        return self.method.upper() in {"", method} and re.search(self.path, path) is not None


class Faults:
    """The orders that are not spent, in the sequence in which they came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._orders: list[Fault] = []
        self._clock = clock

    def add(
        self,
        kind: Kind | str,
        *,
        count: int | None = None,
        seconds: float | None = None,
        code: str = "ServiceUnavailable",
        delay: float = 0.0,
        method: str = "",
        path: str = "",
    ) -> None:
        """Order a fault for the next `count` requests, or all of the next `seconds`, or until `clear`."""
        if code not in CODES:
            message = f"code: {code} is none of {', '.join(CODES)}"
            raise ValueError(message)
        try:
            re.compile(path)
        except re.error as exc:
            message = f"path: not a regular expression: {exc}"
            raise ValueError(message) from None
        until = None if seconds is None else self._clock() + seconds
        order = Fault(kind=Kind(kind), code=code, delay=delay, count=count, until=until, method=method, path=path)
        self._orders.append(order)

    def clear(self) -> None:
        """Everything goes well again."""
        self._orders.clear()

    def listed(self) -> list[dict[str, Any]]:
        """The orders that are not spent."""
        self._orders = [order for order in self._orders if not self._spent(order)]
        return [self._shown(order) for order in self._orders]

    def take(self, method: str, path: str) -> list[Fault]:
        """What goes wrong with this request: every latency, and the first of all else."""
        taken: list[Fault] = []
        for order in [order for order in self._orders if not self._spent(order) and order.hits(method, path)]:
            if order.kind is Kind.LATENCY or all(other.kind is Kind.LATENCY for other in taken):
                taken.append(order)
                if order.count is not None:
                    order.count -= 1
        self._orders = [order for order in self._orders if not self._spent(order)]
        return taken

    def _spent(self, order: Fault) -> bool:
        return order.count == 0 or (order.until is not None and self._clock() >= order.until)

    def _shown(self, order: Fault) -> dict[str, Any]:
        left = None if order.until is None else round(order.until - self._clock(), 3)
        return {
            "kind": order.kind.value,
            **({"code": order.code} if order.kind is Kind.ERROR else {}),
            **({"delay": order.delay} if order.kind is Kind.LATENCY else {}),
            "count": order.count,
            "seconds": left,
            "method": order.method,
            "path": order.path,
        }


def throttled() -> HubError:
    """What the hub says when its backlog is full."""
    return HubError(
        "ThrottlingBacklogTimeout",
        "The request has been throttled. Wait 10 seconds and try again. Operation type: CRUD",
    )
