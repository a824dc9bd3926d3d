"""What one pass over a device finds out."""

import dataclasses

from edgeherd import conditions
from edgeherd.model import CheckReport, Condition, DeviceStatus, IdentityStatus, PlannedChange


@dataclasses.dataclass(slots=True, kw_only=True)
class Context:
    """What a pass finds out, link by link."""

    link: str = conditions.STEPS[0]
    conditions: dict[str, Condition] = dataclasses.field(default_factory=dict)
    identity: IdentityStatus
    secret_name: str
    device: DeviceStatus
    check: CheckReport | None
    plan: tuple[PlannedChange, ...] = ()
    events: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def say(self, status: str, reason: str, message: str) -> None:
        """What the present link says of itself."""
        self.conditions[self.link] = Condition(type=self.link, status=status, reason=reason, message=message)
