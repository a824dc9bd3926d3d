"""The stand-in for the runtime, as Debian packages: what is in stub/, and what can be derived."""

import io
import pathlib
import tarfile
import time

from machine import Machine

VERSIONS = ("1.1.15", "1.5.44")

_STUB = pathlib.Path(__file__).with_name("stub")
_SIMULATED = pathlib.Path(__file__).parents[2] / "operator/edgeherd_sim/devices/files/config.yaml"
_SERVED = {"identityd": "aziotid", "keyd": "aziotks", "certd": "aziotcs", "tpmd": "aziottpm"}


def install(machine: Machine, version: str) -> None:
    """Build the package in the machine, and let dpkg install it as it does on a device."""
    machine.run("mkdir", "/root/package")
    machine.run("tar", "-x", "-C", "/root/package", stdin=_archive(version))
    machine.run("dpkg-deb", "--root-owner-group", "-Znone", "--build", "/root/package", "/root/package.deb")
    machine.run("dpkg", "--install", "/root/package.deb")
    machine.run("rm", "-rf", "/root/package", "/root/package.deb")


def _archive(version: str) -> bytes:
    """The package's tree as a tar file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content, mode in _files(version):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _files(version: str) -> list[tuple[str, bytes, int]]:
    """Path, content and mode of each."""
    files = []
    for tree in (_STUB / "common", _STUB / version):
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            files.append((str(path.relative_to(tree)), path.read_bytes(), mode))
    if version == "1.1.15":
        return [*files, ("etc/iotedge/config.yaml.template", _SIMULATED.read_bytes(), 0o400)]
    units = [unit for name, user in _SERVED.items() for unit in _units(name, user)]
    return [*files, *((f"lib/systemd/system/{name}", text.encode(), 0o644) for name, text in units)]


def _units(name: str, user: str) -> list[tuple[str, str]]:
    """Service and socket of one part of the identity service. It tells its configuration, which holds no key."""
    config = f"/etc/aziot/{name}/config.d/00-super.toml"
    service = f"""[Unit]
Description=Stand-in for the IoT identity service: {name}
Requires=aziot-{name}.socket
After=aziot-{name}.socket

[Service]
ExecStartPre=/usr/bin/test -r {config}
ExecStart=/usr/lib/iotedge-stub/socket serve {config}
KillMode=process
Restart=on-failure
RestartSec=5s
User={user}

[Install]
WantedBy=multi-user.target
"""
    listener = f"""[Unit]
Description=Stand-in for the IoT identity service: socket of {name}
PartOf=aziot-{name}.service

[Socket]
ListenStream=/run/aziot/{name}.sock
SocketMode=0660
DirectoryMode=0755
SocketUser={user}
SocketGroup={user}

[Install]
WantedBy=sockets.target
"""
    return [(f"aziot-{name}.service", service), (f"aziot-{name}.socket", listener)]
