"""A request and its reply, freed of the HTTP library; and the table that leads from one to the other."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeherd_sim.hub.auth import Caller, Right
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.throttle import Operation

if TYPE_CHECKING:
    from edgeherd_sim.hub.index import Index
    from edgeherd_sim.hub.store import Store

VERSIONS = frozenset({"2018-06-30", "2020-05-31-preview", "2020-09-30", "2021-04-12", "2024-03-31"})
"""The api-versions that the service answers to."""


def parsed(raw: bytes) -> Any:
    """JSON, or IotHubFormatError. What Python takes and no answer could carry back is refused: NaN, half characters."""
    try:
        value = json.loads(raw)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise HubError("IotHubFormatError", "The body is not JSON.") from None
    return value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, let in and with its path taken apart."""

    store: "Store"
    index: "Index"
    caller: Caller
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes = dataclasses.field(repr=False)

    @property
    def if_match(self) -> str | None:
        """The If-Match header as it came."""
        return self.headers.get("If-Match")

    def json(self) -> Any:
        """The body, whatever it is."""
        return parsed(self.raw)

    def body(self) -> Mapping[str, Any]:
        """The body, which must be an object."""
        value = self.json()
        if not isinstance(value, dict):
            raise HubError("IotHubFormatError", "The body must be an object.")
        return value

    def top(self, *, most: int) -> int:
        """How many results are asked for by `top`; the most when nothing is said."""
        text = self.query.get("top", str(most))
        digits = text.lstrip("0")
        if not text.isdecimal() or not digits:
            raise HubError("ArgumentInvalid", "top must be a positive number.")
        return most if len(digits) > len(str(most)) else min(int(digits), most)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back. A body of None is no body at all."""

    status: int = 200
    body: Any = None
    etag: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table: which calls, who may, what they cost, who answers."""

    method: str
    path: str
    handler: Callable[[Call], Reply]
    right: Right
    operation: Operation = Operation.REGISTRY
    cost: Callable[[bytes], int] = lambda _: 1
    own: bool = False
    """Whether a device (or module) may call it with its own key, about itself."""
    flat_errors: bool = False
    """Whether refusals come in the second envelope, as those about modules do."""
    versions: frozenset[str] | None = VERSIONS
    """The accepted api-versions; None for all, as on the device side."""
    segments: tuple[str, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.strip("/").split("/")))

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The parameters of a path that is this route's, or None. Words match exactly, `{names}` match any segment."""
        if len(segments) != len(self.segments):
            return None
        params: dict[str, str] = {}
        for pattern, segment in zip(self.segments, segments, strict=True):
            if pattern.startswith("{"):
                params[pattern.strip("{}")] = segment
            elif pattern != segment:
                return None
        return params


def find(routes: tuple[Route, ...], method: str, segments: tuple[str, ...]) -> tuple[Route, dict[str, str]]:
    """The route of a request, words before parameters; 404 or 405 where there is none."""
    found = [(route, params) for route in routes if (params := route.match(segments)) is not None]
    if not found:
        raise HubError("ResourceNotFound", "There is nothing at this address.")
    for route, params in sorted(found, key=lambda pair: len(pair[1])):
        if route.method == method:
            return route, params
    raise HubError("MethodNotAllowed", f"The address does not support {method}.")
