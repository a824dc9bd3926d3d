"""What is wrong before anything runs is one sentence on stderr, and status 1; a bug is a traceback without secrets."""

import os
import pathlib
import sys
from collections.abc import Mapping

import pytest

import processes

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def started(*arguments: str, home: pathlib.Path, **environment: str) -> tuple[int, list[str]]:
    """The exit status of a start, and what it says."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEHERD_", "KUBE"))}
    done = processes.run([sys.executable, *arguments], env={**mine, "HOME": str(home), **environment})
    return done.returncode, done.stderr.decode().splitlines()


UNCLEAR: tuple[tuple[str, Mapping[str, str], str], ...] = (
    ("a setting that cannot be used", {"EDGEHERD_WORKERS": "many"}, "EDGEHERD_WORKERS must be a number from 1 to 512, not 'many'"),
    ("a namespace that cannot be one", {"EDGEHERD_WATCH_NAMESPACES": "Plant"}, "EDGEHERD_WATCH_NAMESPACES must list names of namespaces with commas between, not 'Plant'"),
    ("a kubeconfig that is not there", {"KUBECONFIG": "{home}/none"}, "There is no kubeconfig {home}/none, which KUBECONFIG names."),
    ("no way to an API server", {}, "There is no way to the API server: neither the files in /var/run/secrets/kubernetes.io/serviceaccount as in a Pod, nor a kubeconfig {home}/.kube/config. KUBECONFIG may name one."),
)  # fmt: skip


@pytest.mark.parametrize(("environment", "says"), [row[1:] for row in UNCLEAR], ids=[row[0] for row in UNCLEAR])
def test_an_unclear_start_is_one_sentence(tmp_path: pathlib.Path, environment: Mapping[str, str], says: str) -> None:
    """For somebody who reads the log of a Pod."""
    given = {name: value.format(home=tmp_path) for name, value in environment.items()}
    said = f"edgeherd: {says.format(home=tmp_path)}"
    assert started("-m", "edgeherd", "run", home=tmp_path, **given) == (1, [said])


BUG = f"""
import edgeherd.cli, edgeherd.run
from edgeherd import logs

async def run(settings):
    logs.configure(settings.log_level)
    raise KeyError("SharedAccessKey={KEY}")

edgeherd.run.run = run
edgeherd.cli.main(["run"])
"""


def test_a_bug_that_ends_the_operator_has_a_traceback_and_no_secret(tmp_path: pathlib.Path) -> None:
    """Python's own would show it."""
    status, lines = started("-c", BUG, home=tmp_path)
    assert status == 1
    assert lines[0].endswith("ERROR edgeherd.cli a bug ends the operator")
    assert lines[-1] == "KeyError: 'SharedAccessKey=***'"
    assert KEY not in "".join(lines)
