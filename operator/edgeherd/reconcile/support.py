"""Until when Microsoft supports which line of IoT Edge, and what is said of a device about it. Pure.

A line is the first two numbers of a version; daemon and images are patched apart from each other within it.
"""

import re
from collections.abc import Mapping

from edgeherd.config import Version
from edgeherd.model import Condition

CONDITION = "RuntimeSupported"
"""Informational: nothing waits for it, and `Ready` does not know of it."""

ENDS: Mapping[tuple[int, ...], str] = {
    (1, 0): "2021-02-10",
    (1, 1): "2022-12-13",
    (1, 2): "2022-06-24",
    (1, 3): "2022-08-26",
    (1, 4): "2024-11-12",
    (1, 5): "2026-11-10",
    (1, 6): "2028-11-14",
}
"""The last day of each line.

1.1, 1.4, 1.5 and 1.6 are LTS: https://learn.microsoft.com/lifecycle/products/azure-iot-edge, and the CHANGELOG of Azure/iotedge
at 1.1.19, 1.5.0 and 1.6.0. The others ended when the next line came (https://learn.microsoft.com/azure/iot-edge/version-history:
"supported until the next version is generally available"): the dates of 1.1.0, 1.3.0 and 1.4.0 in that CHANGELOG.
"""


def judge(runtime: Version, agent: str, *, now: str) -> Condition:
    """What is to be said of a device whose daemon and edgeAgent image have these versions.

    Args:
        runtime: the daemon's version.
        agent: the version in the tag of edgeAgent's image; empty where it is not known.
        now: the present time, as metav1.Time has it.
    """
    line = _line(runtime)
    ends = ENDS.get(runtime.numbers[:2])
    if ends is None:
        return _said(
            "Unknown", "NotListed", f"This version of edgeherd does not know how long IoT Edge {line} is supported."
        )
    if now[:10] > ends:
        newest = ".".join(map(str, max(ENDS)))
        return _said(
            "False",
            "EndOfSupport",
            f"Microsoft supported IoT Edge {line} until {ends}; the device runs {runtime}. Update it, to {newest} for example.",
        )
    image = Version.parse(agent) if agent else runtime
    if _line(image) != line:
        return _said(
            "False",
            "AgentVersionDiffers",
            f"The daemon is IoT Edge {runtime} and edgeAgent's image is {agent}, of another line. Update the one that is older: "
            "the runtime on the device, or the image in the hub's deployment and in spec.runtime.agent.image.",
        )
    return _said("True", "Supported", f"IoT Edge {line} is supported until {ends}.")


def image_version(image: str) -> str:
    """The version in the tag of an image, such as `mcr.microsoft.com/azureiotedge-agent:1.5.40-linux-arm64v8`.

    Empty where the tag is none, or there is only a digest.
    """
    found = _TAG.search(image)
    return found[1] if found else ""


_TAG = re.compile(r":([0-9]{1,4}(?:\.[0-9]{1,4}){1,3})(?:-[A-Za-z0-9_.-]{1,64})?(?:@sha256:[0-9a-f]{64})?\Z")


def _line(version: Version) -> str:
    return ".".join(map(str, version.numbers[:2]))


def _said(status: str, reason: str, message: str) -> Condition:
    return Condition(type=CONDITION, status=status, reason=reason, message=message)
