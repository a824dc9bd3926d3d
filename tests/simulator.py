"""The API simulator as a process of its own, for tests that do without an event loop."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import processes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """Where it listens, and how to log in."""

    url: str
    token: str
    ca_file: Path
    kubeconfig: Path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Simulator]:
    """`edgeherd sim kube` until the block ends, with its files in the folder."""
    token = folder / "token"
    token.write_text("a-token-of-the-tests\n")
    command = [
        *(Path(sys.executable).parent / "edgeherd", "sim", "kube", "--output", "json", "--token-file", token),
        *("--kubeconfig", folder / "kubeconfig"),
    ]
    with processes.running(command) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        yield Simulator(
            url=facts["url"],
            token=token.read_text().strip(),
            ca_file=Path(facts["caFile"]),
            kubeconfig=Path(facts["kubeconfig"]),
        )
        process.terminate()
        assert process.wait(timeout=processes.SECONDS) == 0
