"""The certificate that the hub shows, and the authority that a client has to trust."""

import dataclasses
import os
import pathlib
import ssl

import trustme

_CA, _CA_KEY, _CERTIFICATE, _KEY = "ca.pem", "ca-key.pem", "hub.pem", "hub-key.pem"
ALWAYS = ("localhost", "127.0.0.1", "::1")
"""Names that the certificate holds in any case."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A server context, and the file that holds the authority's certificate."""

    context: ssl.SSLContext
    ca_file: pathlib.Path


def prepare(directory: pathlib.Path, host_names: tuple[str, ...]) -> Tls:
    """Write authority and certificate into the directory. An authority that is there already is used again."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = _authority(directory)
    names = tuple(dict.fromkeys((*host_names, *ALWAYS)))
    leaf = authority.issue_cert(*names)
    write(directory / _CERTIFICATE, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    write(directory / _KEY, leaf.private_key_pem.bytes(), secret=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(directory / _CERTIFICATE, directory / _KEY)
    return Tls(context=context, ca_file=directory / _CA)


def write(path: pathlib.Path, content: bytes, *, secret: bool = False) -> None:
    """Replace a file in one step; a secret is readable by its owner only from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _authority(directory: pathlib.Path) -> trustme.CA:
    certificate, key = directory / _CA, directory / _CA_KEY
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="edgeherd sim hub")
    write(key, authority.private_key_pem.bytes(), secret=True)
    write(certificate, authority.cert_pem.bytes())
    return authority
