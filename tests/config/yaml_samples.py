"""What the tests of config.yaml share: samples, wanted values, and ways to look at what an edit did."""

import difflib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ruamel.yaml import YAML

import edgeherd_sim
from edgeherd import config

Made = TypeVar("Made")

FIXTURES = Path(os.environ.get("EDGEHERD_FIXTURES", Path(__file__).resolve().parents[3] / "shared/fixtures/iotedge"))
DEBIAN = (Path(edgeherd_sim.__file__).parent / "devices/files/config.yaml").read_bytes()
"""Our own stand-in of the 1.0.10 Debian template."""

V1_0_9 = config.Version.parse("1.0.9.5")
V1_0_10 = config.Version.parse("1.0.10")
V1_1 = config.Version.parse("1.1.15")

PLACEHOLDER = "<ADD DEVICE CONNECTION STRING HERE>"
KEY = "c2VjcmV0LW9mLXByZXNzLTAx"
STRING = f"HostName=contoso.azure-devices.net;DeviceId=press-01;SharedAccessKey={KEY}"
OLD_KEY = "b2xkLXNlY3JldC1vZi1wcmVzcw=="
OLD = f"HostName=fabrikam.azure-devices.net;DeviceId=press-00;SharedAccessKey={OLD_KEY}"
PASSWORD = "hush-hush"
AUTH = config.RegistryAuth(server_address="registry.example", username="reader", password=PASSWORD)
X509 = config.X509(
    iothub_hostname="contoso.azure-devices.net",
    device_id="press-01",
    identity_cert="file:///etc/certs/press-01.pem",
    identity_pk="file:///etc/certs/press-01.key",
)

PLAIN = f"""\
provisioning:
  source: "manual"
  device_connection_string: "{STRING}"
  dynamic_reprovisioning: false
agent:
  name: "edgeAgent"
  type: "docker"
  env: {{}}
  config:
    image: "mcr.microsoft.com/azureiotedge-agent:1.0"
    auth: {{}}
hostname: "press-01"
connect:
  management_uri: "unix:///var/run/iotedge/mgmt.sock"
  workload_uri: "unix:///var/run/iotedge/workload.sock"
listen:
  management_uri: "fd://iotedge.mgmt.socket"
  workload_uri: "fd://iotedge.socket"
homedir: "/var/lib/iotedge"
moby_runtime:
  uri: "unix:///var/run/docker.sock"
  network: "azure-iot-edge"
"""
"""A file without comments, for tables: its lines are easy to count."""

GOOD = config.Verdict(valid=True, editable=True, problems=())


def fixture(*names: str) -> bytes:
    """A file of the shared fixtures; the test is skipped where they are not."""
    path = FIXTURES.joinpath(*names)
    if not path.is_file():
        pytest.skip(f"the shared fixtures are not here: {path}")
    return path.read_bytes()


def changed(text: str, *replacements: tuple[str, str]) -> str:
    """The text with each replacement made once; each has to fit."""
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def difference(before: bytes, after: bytes) -> tuple[list[str], list[str]]:
    """The lines that were removed and those that were added, without their line ends."""
    lines = [content.decode().replace("\r\n", "\n").split("\n") for content in (before, after)]
    told = list(difflib.unified_diff(*lines, n=0, lineterm=""))[2:]
    return [line[1:] for line in told if line[0] == "-"], [line[1:] for line in told if line[0] == "+"]


def active_sections(content: bytes) -> int:
    """How many provisioning sections are active."""
    return len(re.findall(rb"^[ \t]*provisioning[ \t]*:", content, re.MULTILINE))


def said(content: bytes) -> Any:
    """What another YAML reader understands of a file."""
    return YAML(typ="safe", pure=True).load(io.BytesIO(content))


def told(verdict: config.Verdict) -> tuple[bool, bool, list[tuple[str, int | None, str]]]:
    """A verdict without its sentences: valid, editable, and (rule, line, severity) of each problem."""
    return verdict.valid, verdict.editable, [(p.rule, p.line, p.severity) for p in verdict.problems]


def refusal(caught: pytest.ExceptionInfo[config.ConfigError]) -> list[tuple[str, int | None]]:
    """The rules and lines of a refusal."""
    return [(problem.rule, problem.line) for problem in caught.value.problems]


def attempt(
    act: Callable[..., Made], content: bytes, **arguments: Any
) -> tuple[Made | None, config.ConfigError | None]:
    """What one of the package's functions makes of a file: a result or a refusal that says why."""
    try:
        return act(content, **arguments), None
    except config.ConfigError as exc:
        return None, exc
