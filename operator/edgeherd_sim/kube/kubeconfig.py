"""Kubeconfig files, for the simulator and for the real server alike."""

import json
import os
from pathlib import Path


def write_kubeconfig(path: Path, *, url: str, token: str, ca_file: Path, name: str = "edgeherd-sim") -> None:
    """Write a kubeconfig with one context, readable by its owner only.

    It is JSON, which is YAML: no library is needed to write it, and kubectl reads it.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority": str(ca_file.absolute())}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")
