"""How the demo and the e2e tests start the stand-ins."""

import json
import sys
from pathlib import Path

import pytest

from edgeherd_sim.demo import stage


async def test_a_fleet_of_any_size_may_announce_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 devices are one line of eleven megabytes; what prints it here is no fleet."""
    device = {
        "host": "127.0.0.11",
        "port": 36389,
        "user": "edgeops",
        "hostKey": f"ssh-ed25519 {'A' * 68}",
        "root": "/tmp/edgeherd-devices-mlo4p5uj/press-00001",  # noqa: S108 - nobody opens it
    }
    facts = {"devices": [{"name": f"press-{number:05}", **device} for number in range(50_000)]}
    line = tmp_path / "line"
    line.write_text(json.dumps(facts) + "\n")
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nexec cat '{line}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    async with stage.stand_in("devices", folder=tmp_path) as running:
        assert running.facts == facts
