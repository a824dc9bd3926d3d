"""The commands with which people make Secrets: what README, docs and samples say makes one that is used as it is."""

import dataclasses
import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeherd import resource
from edgeherd.reconcile import secret_use
from edgeherd.reconcile.secret_use import Use

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("README.md", "docs/devices.md", "manifests/samples/edgedevices.yaml", "manifests/samples/hubconnection.yaml")
COMMAND = re.compile(r"kubectl [^`\n]*create secret (?:[^`\n\\]|\\\n)*")

USES: dict[str, Use | None] = {
    "plant-a-ssh": secret_use.DEVICE_LOGIN,
    "plant-a-login": secret_use.DEVICE_LOGIN,
    "plant-a-proxy": secret_use.PROXY_LOGIN,
    "plant-a-registry": secret_use.REGISTRY_LOGIN,
    "press-07-tls": secret_use.CERTIFICATE,
    "contoso-hub": None,
}
"""What each Secret of the documentation is for; None: the HubConnection's, which may be of any type."""


@dataclasses.dataclass(frozen=True)
class Documented:
    """A command, and where it stands."""

    place: str
    command: str


FOUND = [
    Documented(place, match[0].replace("<file>", "password.txt"))
    for place in PLACES
    for match in COMMAND.finditer((ROOT / place).read_text())
]


def test_every_use_has_a_command() -> None:
    """Nobody has to guess the type."""
    told = " ".join(each.command for each in FOUND)
    assert [name for name in USES if f" {name} " not in told] == []


@pytest.mark.parametrize("documented", FOUND, ids=lambda it: f"{it.place}: {' '.join(it.command.split())[:60]}")
def test_a_documented_secret_is_used_as_it_is(documented: Documented, tmp_path: Path) -> None:
    """Its type says what it is for; a line break at the end of the file does not count."""
    for name in ("password.txt", "policy.txt", "id_ed25519"):
        (tmp_path / name).write_text("correct horse\n")
    _put_certificate(tmp_path)
    done = subprocess.run(
        ["/bin/sh", "-c", f"{documented.command} --dry-run=client -o json"],  # as a reader runs it
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    secret = resource.secret({**body, "metadata": {"resourceVersion": "1", **body["metadata"]}})
    use = USES[secret.name]
    if use is None:
        assert secret.type == "Opaque"
        return
    secret_use.require(secret, use)
    if "password" in secret.data:
        assert secret_use.line(secret, "password") == b"correct horse"
    if use is secret_use.REGISTRY_LOGIN:
        assert json.loads(secret.data[".dockerconfigjson"])["auths"]["registry.example"]["password"] == "correct horse"


def _put_certificate(folder: Path) -> None:
    """A pair, because kubectl looks whether it is one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "press-07")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (folder / "press-07.pem").write_bytes(certificate)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "press-07.key").write_bytes(private)
