"""What is said of a device whose runtime is supported, or no longer."""

import datetime as dt

import pytest
from memory_lab import KEY, Lab

from edgeherd import config
from edgeherd.model import Condition
from edgeherd.reconcile import support
from edgeherd_sim.memory import MemoryDevice

TODAY = "2026-11-28T12:00:00Z"


def judged(runtime: str, agent: str = "", now: str = TODAY) -> Condition:
    """Of these versions."""
    return support.judge(config.Version.parse(runtime), agent, now=now)


@pytest.mark.parametrize(
    ("runtime", "agent", "status", "reason", "message"),
    [
        pytest.param(
            "1.6.1",
            "1.6.1",
            "True",
            "Supported",
            "IoT Edge 1.6 is supported until 2028-11-14.",
            id="a line that is supported",
        ),
        pytest.param(
            "1.6.0", "1.6", "True", "Supported", "IoT Edge 1.6 is supported until 2028-11-14.", id="patched apart"
        ),
        pytest.param(
            "1.6.1", "", "True", "Supported", "IoT Edge 1.6 is supported until 2028-11-14.", id="an image by digest"
        ),
        pytest.param(
            "1.5.21",
            "1.5.44",
            "False",
            "EndOfSupport",
            "Microsoft supported IoT Edge 1.5 until 2026-11-10; the device runs 1.5.21. Update it, to 1.6 for example.",
            id="a line that was supported",
        ),
        pytest.param(
            "1.0.10.4",
            "1.1",
            "False",
            "EndOfSupport",
            "Microsoft supported IoT Edge 1.0 until 2021-02-10; the device runs 1.0.10.4. Update it, to 1.6 for example.",
            id="that comes before other images",
        ),
        pytest.param(
            "1.6.1",
            "1.5.44",
            "False",
            "AgentVersionDiffers",
            (
                "The daemon is IoT Edge 1.6.1 and edgeAgent's image is 1.5.44, of another line. Update the one that is older: "
                "the runtime on the device, or the image in the hub's deployment and in spec.runtime.agent.image."
            ),
            id="an image of another line",
        ),
        pytest.param(
            "1.7.0",
            "1.7",
            "Unknown",
            "NotListed",
            "This version of edgeherd does not know how long IoT Edge 1.7 is supported.",
            id="a line of the future",
        ),
        pytest.param(
            "2.0.0~rc1",
            "",
            "Unknown",
            "NotListed",
            "This version of edgeherd does not know how long IoT Edge 2.0 is supported.",
            id="and one of a candidate",
        ),
    ],
)
def test_what_is_said(runtime: str, agent: str, status: str, reason: str, message: str) -> None:
    """On the day after this was written."""
    assert judged(runtime, agent) == Condition(type="RuntimeSupported", status=status, reason=reason, message=message)


@pytest.mark.parametrize(("line", "last"), support.ENDS.items())
def test_a_line_is_supported_up_to_its_last_day(line: tuple[int, ...], last: str) -> None:
    """That day included, wherever it ends first."""
    version = ".".join(map(str, line)) + ".9"
    after = (dt.date.fromisoformat(last) + dt.timedelta(1)).isoformat()
    assert judged(version, now=f"{last}T23:59:59Z").status == "True"
    assert judged(version, now=f"{after}T00:00:00Z").status == "False"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("mcr.microsoft.com/azureiotedge-agent:1.5", "1.5"),
        ("mcr.microsoft.com/azureiotedge-agent:1.5.40", "1.5.40"),
        ("mcr.microsoft.com/azureiotedge-agent:1.5.40-linux-arm64v8", "1.5.40"),
        ("registry.example:5000/agent:1.0.10.4", "1.0.10.4"),
        ("registry.example:5000/agent", ""),
        ("registry.example:5000/agent:latest", ""),
        ("registry.example/agent:20261128", ""),
        (f"agent:1.6.1@sha256:{'a' * 64}", "1.6.1"),
        (f"agent@sha256:{'a' * 64}", ""),
        ("agent:1.6.1-" + "x" * 65, ""),
        ("", ""),
    ],
)
def test_the_version_of_an_image(image: str, version: str) -> None:
    """Its tag says it, where it is one of a version."""
    assert support.image_version(image) == version


async def test_it_is_only_information() -> None:
    """The device is Ready whatever is said; a pass that cannot see it leaves it as it was said."""
    lab = Lab()
    await lab.until_ready()
    assert (lab.told["Ready"], lab.told["RuntimeSupported"]) == ("True Ready", "False EndOfSupport")
    said = lab.device.status.condition("RuntimeSupported")
    lab.cluster.secrets.pop((KEY.namespace, "ssh"))
    await lab.reconcile(after=900)
    assert lab.told["Ready"] == "False SshSecretNotFound"
    assert lab.device.status.condition("RuntimeSupported") == said


async def test_the_versions_are_in_the_status() -> None:
    """Of the daemon and of edgeAgent's image."""
    lab = Lab(MemoryDevice(agent_image="agent:1.1.9", files={}))
    lab.memory.files[lab.memory.path] = Lab().memory.files[lab.memory.path]
    await lab.until_ready()
    found = lab.device.status.device
    assert (found.runtime_version, found.agent_image) == ("1.1.15", "agent:1.1.9")
