"""Certificates for loopback, by a certificate authority made for the occasion."""

from pathlib import Path

import trustme


def write_certificates(folder: Path, *names: str) -> None:
    """Write `ca.crt`, `tls.crt` and `tls.key` into the folder, for loopback and the names given."""
    authority = trustme.CA(organization_name="edgeherd stand-ins")
    certificate = authority.issue_cert(*dict.fromkeys(("127.0.0.1", "localhost", "::1", *names)))
    authority.cert_pem.write_to_path(folder / "ca.crt")
    key = folder / "tls.key"
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(key)
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(folder / "tls.crt", append=number > 0)
