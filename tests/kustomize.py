"""What `kubectl apply -k` would send."""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import yaml

import processes
import yaml_files

ROOT = pathlib.Path(__file__).resolve().parent.parent
KUBECTL = pathlib.Path(sys.executable).parent / "kubectl"
Body = dict[str, Any]


def built(folder: str | pathlib.Path) -> list[Body]:
    """The objects of a kustomization; a relative path is the repository's."""
    done = processes.run([KUBECTL, "kustomize", ROOT / folder], check=True)
    return yaml_files.documents(done.stdout)


def of_kind(bodies: list[Body], kind: str) -> list[Body]:
    """Those of a kind."""
    return [body for body in bodies if body["kind"] == kind]


def overlay(
    folder: pathlib.Path, resources: Sequence[str], components: Sequence[str] = (), **more: Any
) -> pathlib.Path:
    """A kustomization as users write it over folders of the repository."""
    folder.mkdir(parents=True, exist_ok=True)

    def seen(paths: Sequence[str]) -> list[str]:
        return [os.path.relpath(ROOT / path, folder.resolve()) for path in paths]

    said = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": seen(resources),
        "components": seen(components),
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return folder
