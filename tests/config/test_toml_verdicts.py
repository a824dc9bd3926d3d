"""Verdicts of `iotedge config apply` 1.5.44 and 1.6.1, by programs built from their sources: ours are the same."""

import base64
import json
import os
from pathlib import Path

import pytest

from edgeherd import config

CASES = Path(os.environ.get("EDGEHERD_CASES", Path(__file__).resolve().parents[3] / "shared/cases"))
FILE = CASES / "toml_verdicts.jsonl"

NOT_JUDGED = {
    # The daemon's verdict depends on a file beside it, which was not there. From the text alone nobody can tell.
    "additional-info-missing",
    "imported-key-missing",
}


@pytest.mark.skipif(not FILE.is_file(), reason="the daemons' verdicts are not beside the repository")
@pytest.mark.parametrize("version", ["1.5.44", "1.6.1"])
def test_verdicts_are_those_of_the_daemon(version: str) -> None:
    """Of every file; what hangs on more than the file is said to be not judged."""
    daemon: dict[str, bool | None] = {}
    ours: dict[str, bool | None] = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        daemon[row["case"]] = None if row["case"] in NOT_JUDGED else row["verdict"][version] == "OK"
        ours[row["case"]] = config.check(base64.b64decode(row["toml_b64"]), version=config.Version.parse(version)).valid
    assert ours == daemon
    assert len(daemon) > 100
