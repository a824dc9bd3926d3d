"""The subjects of the suite: simulated devices, or with EDGEHERD_TEST_MACHINE=1 a Debian machine (make test-device)."""

import os
import pathlib
from collections.abc import AsyncIterator

import asyncssh
import build
import machine_subject
import pytest
import simulated_subject
from driver import Operator
from subject import Subject

from machine import boot

ON_MACHINE = os.environ.get("EDGEHERD_TEST_MACHINE") == "1"
_VERSIONS = machine_subject.VERSIONS if ON_MACHINE else simulated_subject.VERSIONS
_KIND = "machine" if ON_MACHINE else "simulated"


def pytest_configure(config: pytest.Config) -> None:
    """The markers of this suite."""
    config.addinivalue_line("markers", "needs(*names): what a subject must support")
    config.addinivalue_line("markers", "versions(*prefixes): for these versions of the runtime only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs for every version that it is for."""
    if "version" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("versions")
    wanted = tuple(marker.args) if marker else ("1.1", "1.5")
    chosen = [version for version in _VERSIONS if version.startswith(wanted)]
    metafunc.parametrize("version", chosen, ids=[f"{_KIND}-{version}" for version in chosen], scope="function")


@pytest.fixture(scope="session")
def base() -> pathlib.Path:
    """The machine's file system."""
    if why := build.trouble():
        pytest.skip(why)
    return build.base()


@pytest.fixture(scope="session")
def client_key() -> asyncssh.SSHKey:
    """What the user logs in at the machine with."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
async def subject(request: pytest.FixtureRequest, version: str, tmp_path: pathlib.Path) -> AsyncIterator[Subject]:
    """A fresh device with that runtime just installed: its daemon has refused to start without settings."""
    needed = {name for marker in request.node.iter_markers("needs") for name in marker.args}
    needed |= {value for name, value in request.node.callspec.params.items() if name == "fault"}
    if ON_MACHINE:
        _require(needed, machine_subject.MachineSubject.supports)
        with boot(request.getfixturevalue("base"), tmp_path / "log") as machine:
            real = machine_subject.MachineSubject(machine, request.getfixturevalue("client_key"))
            await real.install(version)
            yield real
        return
    simulated = simulated_subject.SimulatedSubject(tmp_path / "fleet")
    _require(needed, simulated.supports)
    await simulated.install(version)
    yield simulated
    await simulated.close()


def _require(needed: set[str], supported: frozenset[str]) -> None:
    if missing := needed - supported:
        pytest.skip(f"the {_KIND} device has no {', '.join(sorted(missing))}")


@pytest.fixture
def operator(subject: Subject) -> Operator:
    """Who looks after it."""
    return Operator(subject)


@pytest.fixture
async def healthy(operator: Operator) -> Operator:
    """The same, with a device that was brought up."""
    operator.wants(runtime={"agent": {"image": "mcr.microsoft.com/azureiotedge-agent:1.4"}})
    await operator.healthy()
    return operator
