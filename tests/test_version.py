"""The version has one source, `edgeherd.__version__`; where it must stand a second time, it is the same."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from edgeherd import __version__

ROOT = Path(__file__).resolve().parent.parent
TAG = re.compile(r"(?:\bedgeherd:|\bnewTag: )([^\s\"'`}]+)")


@pytest.mark.parametrize(
    ("file", "tags"),
    [
        pytest.param("manifests/base/deployment.yaml", 1, id="the Deployment runs the image of this version"),
        pytest.param("README.md", 3, id="the README builds, pushes and names it"),
        pytest.param("Dockerfile", 0, id="the Dockerfile says `make image`"),
        pytest.param("CONTRIBUTING.md", 0, id="so does the guide for contributors"),
    ],
)
def test_the_image_has_the_version_as_its_tag(file: str, tags: int) -> None:
    """Bumping the version without these leaves an install that pulls the old image."""
    assert TAG.findall((ROOT / file).read_text(encoding="utf-8")) == [__version__] * tags


def test_the_build_reads_the_version_from_the_package() -> None:
    """pyproject.toml says where it is, and does not repeat it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"] == {"path": "operator/edgeherd/__init__.py"}


def test_make_image_reads_it_too() -> None:
    """With sed, because the image is built where there may be no .venv."""
    command = ["make", "--no-print-directory", "--dry-run", "image", "CONTAINER_TOOL=podman"]
    clean = {"PATH": os.environ["PATH"]}  # without what `make test` or a pipeline set: MAKEFLAGS, IMAGE
    said = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout
    assert said == f"podman build --tag edgeherd:{__version__} .\n"
