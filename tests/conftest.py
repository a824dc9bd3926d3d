"""Where the tests keep their files, and how patient property tests are."""

import os
import pathlib
import tempfile

from hypothesis import HealthCheck, settings

# A loaded machine is no fault of the code under test: no property test fails for being slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_MEMORY = pathlib.Path("/dev/shm")  # noqa: S108 - pytest makes a folder there that is the user's alone
_ROOM = 1 << 28
"""Ten times what a run of all tests has at the same time."""


def _memory_serves() -> bool:
    """Containers often have little of it, or let nobody run programs there, as the devices of the tests do."""
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return False
    room = found.f_bavail * found.f_frsize
    return room >= _ROOM and not found.f_flag & os.ST_NOEXEC and os.access(_MEMORY, os.W_OK | os.X_OK)


def pytest_configure() -> None:
    """Use memory, unless TMPDIR says where: some 20,000 small files are made and removed, and many disks are slow at it."""
    if "TMPDIR" not in os.environ and _memory_serves():
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None  # what it found before
