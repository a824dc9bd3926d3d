"""What the tests do with simulated devices."""

import dataclasses
import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

import processes
from edgeherd import config
from edgeherd_sim.devices.behavior import Pace
from edgeherd_sim.devices.device import Device
from edgeherd_sim.devices.hubdoor import Answer

PACE = Pace(load=0.02, watchdog=0.05, pull=0.02, retry=0.01, check=0.01)
STRING = "HostName=hub.example.net;DeviceId=press-01;SharedAccessKey=c2VjcmV0"
OTHER_KEY = STRING.replace("c2VjcmV0", "b3RoZXI=")
AZIOT = "1.5.44"
PLACEHOLDER = b"<ADD DEVICE CONNECTION STRING HERE>"


class ScriptedHub:
    """Answers what it is told to, and remembers who asked."""

    def __init__(self) -> None:
        self.answer = Answer(accepted=True)
        self.asked: list[config.ConnectionString] = []
        self.presented: list[tuple[str, str]] = []

    async def ask(self, connection: config.ConnectionString) -> Answer:
        """See `hubdoor.Hub`."""
        self.asked.append(connection)
        return self.answer

    async def present(self, identity: config.X509, thumbprint: str) -> Answer:
        """See `hubdoor.Hub`."""
        self.presented.append((identity.device_id, thumbprint))
        return self.answer


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int | None
    output: str
    errors: str


async def on(device: Device, command: str) -> Outcome:
    """Run a command in the device's environment, without SSH."""
    done = await processes.finished("/bin/sh", "-c", command, env=device.environment)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def put(device: Device, content: bytes) -> None:
    """Replace the device's settings, without a restart."""
    if device.config_file.exists():
        device.config_file.chmod(0o600)
    device.config_file.write_bytes(content)
    device.config_file.chmod(0o400)


def provision(device: Device, connection_string: str = STRING) -> None:
    """Put a connection string where the placeholder is, without a restart."""
    put(device, device.config_file.read_bytes().replace(PLACEHOLDER, connection_string.encode()))


def configure(device: Device, **wanted: object) -> None:
    """Edit the settings as the operator does, without `config apply` or a restart."""
    aziot = device.template_file.exists()
    start = device.config_file if device.config_file.exists() else device.template_file
    version = config.Version.parse(AZIOT if aziot else "1.1.15")
    wanted = {"connection_string": STRING, **wanted}
    put(device, config.edit(start.read_bytes(), config.Wanted(**wanted), version=version).content)
    if aziot:
        device.config_file.chmod(0o600)


async def apply(device: Device) -> Outcome:
    """`iotedge config apply`, by root."""
    return await on(device, "sudo -n iotedge config apply")


async def restart(device: Device) -> None:
    """Let the daemon start with what its settings file says."""
    if device.template_file.exists():
        assert (await apply(device)).status == 0
    else:
        await device.daemon.systemctl("restart")


def status_of(device: Device) -> list[tuple[str, str]]:
    """The containers and how they are."""
    return [(module.name, module.status) for module in device.modules]


def certificate() -> tuple[bytes, bytes, str]:
    """A device's key and certificate in PEM, and the thumbprint as the hub writes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "press-01")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = (
        builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1)).sign(key, SHA256())
    )
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        made.public_bytes(Encoding.PEM),
        made.fingerprint(SHA256()).hex().upper(),
    )
