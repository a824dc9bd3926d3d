"""A Lease in memory, on a clock that tests move, and a candidate that runs for it."""

import copy
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

from edgeherd.clock import Clock
from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.cluster.lease import LEADING_SECONDS, Candidate, LeaseLostError
from edgeherd.fence import LeaseFence

Body = dict[str, Any]
US = "edgeherd-a"
OTHER = "edgeherd-b"
WALL = 1_767_225_600.0
"""2026-01-01T00:00:00Z"""
BEGAN = "2026-01-01T00:00:00.000000Z"


@dataclasses.dataclass
class Server:
    """An API server with one Lease, which guards writes by the resourceVersion, and the time."""

    lease: Body | None = None
    now: float = 0.0
    wall: float = WALL
    away_until: float = 0.0
    """Until then nobody is answered."""
    answer_seconds: float = 0.0
    loses_answer: bool = False
    """The next write is done, and its answer lost."""
    writes: list[Body] = dataclasses.field(default_factory=list)
    """What the candidate wrote."""
    _plans: list[tuple[float, Callable[["Server"], object]]] = dataclasses.field(default_factory=list)
    _versions: "itertools.count[int]" = dataclasses.field(default_factory=lambda: itertools.count(1))

    def plan(self, at: float, deed: Callable[["Server"], object]) -> None:
        """What happens then."""
        self._plans.append((at, deed))

    def advance(self, seconds: float) -> None:
        """Let time pass, with what was planned for it."""
        end = self.now + seconds
        for plan in sorted(self._plans, key=lambda plan: plan[0]):
            at, deed = plan
            if at <= end:
                self._plans.remove(plan)
                self._move(max(at, self.now))
                deed(self)
        self._move(max(end, self.now))

    def _move(self, to: float) -> None:
        self.wall += to - self.now
        self.now = to

    def put(self, spec: Body | None, **metadata: Any) -> None:
        """Somebody else writes the Lease, whatever was there before."""
        said = {"name": "edgeherd", "namespace": "here", **metadata, "resourceVersion": str(next(self._versions))}
        self.lease = {"metadata": said, **({} if spec is None else {"spec": spec})}

    # ---- `Leases`

    async def read(self) -> Body | None:
        """See `Leases`."""
        self._answer()
        return copy.deepcopy(self.lease)

    async def create(self, spec: Body) -> Body:
        """See `Leases`."""
        self._answer()
        if self.lease is not None:
            raise ConflictError(409, "it exists")
        return self._store({"spec": spec})

    async def replace(self, lease: Body) -> Body:
        """See `Leases`."""
        self._answer()
        if self.lease is None:
            raise ApiError(404, "not found")
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError(409, "the object has been modified")
        return self._store(lease)

    def _store(self, lease: Body) -> Body:
        self.writes.append(lease["spec"])
        self.put(lease["spec"], **{k: v for k, v in lease.get("metadata", {}).items() if k != "resourceVersion"})
        if self.loses_answer:
            self.loses_answer = False
            raise ApiError(0, "The API server did not answer: TimeoutError")
        assert self.lease is not None
        return copy.deepcopy(self.lease)

    def _answer(self) -> None:
        self.advance(self.answer_seconds)
        if self.now < self.away_until:
            raise ApiError(0, "The API server did not answer: ClientConnectorError")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a candidate."""

    led_at: float | None
    """When it first led."""
    lost_at: float | None = None
    lost_because: str = ""


async def run(server: Server, *, seconds: float, identity: str = US) -> Outcome:
    """Let a candidate run for so long, and stop it; what became of it. Whatever it did, it does not lead at the end."""
    clock = Clock(wall=lambda: server.wall, monotonic=lambda: server.now)
    fence = LeaseFence(LEADING_SECONDS, now=lambda: server.now)
    candidate = Candidate(server, fence, clock, identity=identity)
    began, led_at = server.now, None

    async def pause(wait: float) -> bool:
        nonlocal led_at
        if candidate.is_leading and led_at is None:
            led_at = server.now - began
        assert candidate.is_leading == (fence.seconds_left > 0)
        server.advance(wait)
        return server.now - began >= seconds

    try:
        await candidate.campaign(pause)
    except LeaseLostError as exc:
        outcome = Outcome(led_at, server.now - began, str(exc))
    else:
        outcome = Outcome(led_at)
    assert (candidate.is_leading, fence.seconds_left) == (False, 0)
    return outcome


def held(holder: str = OTHER, **spec: Any) -> Body:
    """A Lease that somebody holds."""
    usual = {"holderIdentity": holder, "leaseDurationSeconds": 15, "acquireTime": BEGAN, "renewTime": BEGAN}
    return usual | {"leaseTransitions": 4} | spec
