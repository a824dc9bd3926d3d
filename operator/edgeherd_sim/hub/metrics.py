# ruff: noqa: S608 - there is no database; these texts are what a hub shows
"""The queries by which a hub counts what became of an automatic deployment, word for word as it shows them."""

from collections.abc import Mapping

from edgeherd_sim.hub import layers
from edgeherd_sim.hub.model import Configuration

_REPORTED = "properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code"


def system(kind: str, configuration: Configuration) -> Mapping[str, str]:
    """The system metrics of a configuration of a kind of `layers.KINDS`; the query of nobody is empty."""
    status = f"configurations.[[{configuration.id}]].status = 'Applied'"
    condition = configuration.body.get("targetCondition") or ""
    match kind:
        case layers.EDGE:
            applied = f"select deviceId from devices.modules where moduleId = '$edgeAgent' and {status}"
            return {
                "appliedCount": applied,
                "reportedFailedCount": f"{applied} and {_REPORTED} != 200",
                "reportedSuccessfulCount": f"{applied} and {_REPORTED} = 200",
                "targetedCount": _targeted(condition, everybody=" where capabilities.iotEdge = true"),
            }
        case layers.MODULE:
            return {
                "appliedCount": f"select deviceId from devices.modules where {status}",
                "targetedCount": _targeted(condition),
            }
        case _:
            return {
                "appliedCount": f"select deviceId from devices where {status}",
                "targetedCount": _targeted(condition),
            }


def _targeted(condition: str, *, everybody: str = "") -> str:
    if not condition.strip():
        return ""
    if condition.strip() == "*":
        return f"select deviceId from devices{everybody}"
    if condition.split(maxsplit=1)[0].lower() == "from":
        return f"select deviceId {condition}"
    return f"select deviceId from devices where {condition}"
