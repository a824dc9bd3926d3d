"""A Debian machine for each test."""

import os
import pathlib
from collections.abc import Iterator

import build
import pytest

from machine import Machine, boot

SWITCH = "EDGEHERD_TEST_MACHINE"


@pytest.fixture(scope="session")
def base() -> pathlib.Path:
    """The machine's file system; skips where no machine is wanted or can be had."""
    if os.environ.get(SWITCH) != "1":
        pytest.skip(f"builds and boots a Debian machine as root: 'make test-device', or {SWITCH}=1")
    if why := build.trouble():
        pytest.skip(why)
    return build.base()


@pytest.fixture
def machine(base: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Machine]:
    """A fresh machine, which takes less than a second; without a runtime."""
    with boot(base, tmp_path / "log") as booted:
        yield booted
