"""The kustomizations that the README and docs/installing.md show are ones that work."""

import os
import pathlib
import re
from typing import Any

import yaml

from kustomize import ROOT, Body, built, of_kind


def shown(page: str) -> list[Body]:
    """The kustomizations of a page; one that is but patches is for base."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^(?:apiVersion: kustomize|patches:).*?(?=^(?:END|```)$)", text, re.MULTILINE | re.DOTALL)
    return [{"resources": ["../manifests/base"], **yaml.safe_load(block)} for block in blocks]


def result(folder: pathlib.Path, kustomization: Body) -> list[Body]:
    """What it builds, in a folder beside the manifests."""
    here = os.path.relpath(ROOT / "manifests", folder.resolve())
    text = yaml.safe_dump(kustomization).replace("../manifests", here)
    (folder / "kustomization.yaml").write_text(text)
    return built(folder)


def container(bodies: list[Body]) -> Any:
    """The operator's."""
    (deployment,) = of_kind(bodies, "Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return found


def test_the_readme_s_kustomization_gives_the_image(tmp_path: pathlib.Path) -> None:
    """Base, with the image that was built."""
    (kustomization,) = shown("README.md")
    assert container(result(tmp_path, kustomization))["image"] == "registry.example/edgeherd:0.1.0"


def test_the_namespaced_one_names_its_namespaces(tmp_path: pathlib.Path) -> None:
    """In place of those that the manifest has."""
    kustomization, _ = shown("docs/installing.md")
    bodies = result(tmp_path, kustomization)
    found = [variable for variable in container(bodies)["env"] if variable["name"] == "EDGEHERD_WATCH_NAMESPACES"]
    assert found == [{"name": "EDGEHERD_WATCH_NAMESPACES", "value": "plant-a,plant-b"}]
    assert len(of_kind(bodies, "NetworkPolicy")) == 1


def test_the_role_that_writes_devices_can_be_left_out(tmp_path: pathlib.Path) -> None:
    """That one, and nothing else."""
    _, kustomization = shown("docs/installing.md")
    before, after = (
        {f"{body['kind']} {body['metadata']['name']}" for body in bodies}
        for bodies in (built("manifests/base"), result(tmp_path, kustomization))
    )
    assert before - after == {"ClusterRole edgeherd-edit"}
