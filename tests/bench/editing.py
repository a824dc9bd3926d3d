"""What an edit of the daemon's file costs, in processor time. `make bench` runs it; it prints a table.

The same files are edited by this tree and by an older one, each in a process of its own, by turns. Each edit is of a text that
was not seen before, so that nothing is remembered of it; but for the last row, where it is the same file with the same wishes.

    BENCH_BASE     what it is compared with: a commit (where this branch began)
    BENCH_EDITS    how many edits there are of each kind, and each turn (40)
    BENCH_TURNS    how many turns (3)
    EDGEHERD_FIXTURES   where the templates are (../shared/fixtures/iotedge)
    BENCH_JSON     a file for the figures and their targets
"""

import asyncio
import contextlib
import importlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

from report import Target, table, write

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = pathlib.Path(os.environ.get("EDGEHERD_FIXTURES", ROOT.parent / "shared/fixtures/iotedge"))
EDITS = int(os.environ.get("BENCH_EDITS", "40"))
TURNS = int(os.environ.get("BENCH_TURNS", "3"))
FILES = {
    "YAML": ("1.1.15", FIXTURES / "templates/1.1.15/linux-debian.config.yaml"),
    "TOML": ("1.5.44", FIXTURES / "templates/1.5.44/config.toml.edge.template"),
}
TARGETS = {
    "YAML, a connection string": 9.0,
    "YAML, all fields": 20.0,
    "TOML, a connection string": 5.0,
    "TOML, all fields": 5.0,
    "YAML, right before": 0.3,
    "TOML, right before": 0.3,
}
"""Milliseconds."""
STRING = "HostName=northmill.azure-devices.net;DeviceId=press-07;SharedAccessKey=bm90LWEtcmVhbC1rZXktYnV0LWFzLWxvbmctYXMtb25lLi4="


def measured() -> dict[str, float]:
    """Milliseconds of processor time that an edit takes, at the median, by the `edgeherd` that is imported."""
    config = importlib.import_module("edgeherd.config")
    login = config.RegistryAuth(server_address="registry.example", username="reader", password="not-a-real-one")
    env = {"UpstreamProtocol": "AmqpWs", "https_proxy": "http://proxy.example:3128"}
    plain = config.Wanted(connection_string=STRING)
    everything = config.Wanted(
        connection_string=STRING,
        dynamic_reprovisioning=True,
        hostname="press-07",
        agent_image="registry.example/agent:1",
        agent_auth=login,
        agent_env=env,
    )
    found = {}
    for name, (text, path) in FILES.items():
        version, content = config.Version.parse(text), path.read_bytes()
        for what, wanted in (("a connection string", plain), ("all fields", everything)):
            found[f"{name}, {what}"] = _median(
                [_cost(config.edit, content + b"# %d\n" % number, wanted, version=version) for number in range(EDITS)]
            )
        right = config.edit(content, everything, version=version).content
        found[f"{name}, right before"] = asyncio.run(_remembered(right, everything, version))
    return found


def _cost(function: Any, *arguments: Any, **named: Any) -> float:
    before = time.process_time()
    function(*arguments, **named)
    return (time.process_time() - before) * 1000


async def _remembered(content: bytes, wanted: Any, version: Any) -> float:
    """A pass over a file that was judged right before, with the same wishes: no worker is asked."""
    module = importlib.import_module("edgeherd.reconcile.config_editor")

    async def here(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    editor = module.ConfigEditor(here)
    await editor.edit(content, wanted, version=version)
    costs = []
    for _ in range(EDITS):
        before = time.process_time()
        await editor.edit(content, wanted, version=version)
        costs.append((time.process_time() - before) * 1000)
    return _median(costs)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _in_process(tree: pathlib.Path) -> dict[str, float]:
    """The figures of a tree, by a process that imports from it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree / "operator"), str(tree / "libraries")])}
    command = [sys.executable, __file__, "--measure"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(answer.stderr.strip().splitlines()[-1])
    said: dict[str, float] = json.loads(answer.stdout)
    return said


def _base(folder: pathlib.Path) -> str:
    """An older tree in a folder, with the libraries that it needs and this one does not; what it is called."""
    name = os.environ.get("BENCH_BASE") or _beginning()
    with tarfile.open(fileobj=io.BytesIO(_git("archive", name, "operator", "constraints.txt"))) as archive:
        archive.extractall(folder, filter="data")
    older = (folder / "constraints.txt").read_text().splitlines()
    newer = (ROOT / "constraints.txt").read_text().splitlines()
    missing = [line for line in older if line not in newer and not line.startswith("#")]
    if missing:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder / "libraries"), *missing], check=True)
    return name[:12]


def _beginning() -> str:
    """Where this branch left the main one; a clone knows that by its remote's name."""
    for main_branch in ("main", "origin/main"):
        with contextlib.suppress(subprocess.CalledProcessError):
            return _git("merge-base", "HEAD", main_branch).decode().strip()
    return "HEAD"


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=True).stdout


def main() -> None:
    """Measure both trees, and print the table."""
    if not all(path.is_file() for _, path in FILES.values()):
        sys.stdout.write(f"The templates are not in {FIXTURES}: what an edit costs was not measured.\n")
        return
    with tempfile.TemporaryDirectory(prefix="edgeherd-bench-") as folder:
        tree = pathlib.Path(folder)
        name = _base(tree)
        turns = [(_in_process(tree), _in_process(ROOT)) for _ in range(TURNS)]
    best = [{row: min(turn[which][row] for turn in turns) for row in TARGETS} for which in (0, 1)]
    rows = [("ms of processor time", name, "this tree", "ratio", "target")]
    for row, target in TARGETS.items():
        then, now = best[0][row], best[1][row]
        rows.append((row, f"{then:.2f}", f"{now:.2f}", f"{now / then:.2f}", f"{target:g}"))
    sys.stdout.write(table(rows) + "\n")
    targets = [Target(name=row, value=best[1][row], target=target) for row, target in TARGETS.items()]
    write(targets)


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        sys.stdout.write(json.dumps(measured()))
    else:
        main()
