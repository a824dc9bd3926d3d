"""The third link: how a device is reached, and what a session that failed means."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from edgeherd.cluster.objects import Objects
from edgeherd.device.port import (
    AddressNotAllowedError,
    CredentialError,
    DeviceError,
    HostKeyMismatchError,
    Login,
    LoginRefusedError,
    OddAnswerError,
    Session,
    SudoRefusedError,
)
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.model import EdgeDevice, Secret

Connect = Callable[[Login], AbstractAsyncContextManager[Session]]


async def login(objects: Objects, device: EdgeDevice, allowed_networks: tuple[str, ...]) -> Login:
    """The credentials of the device, from its Secret.

    Raises:
        Waiting: the Secret is not there yet.
        Stalled: the Secret's content, or the spec's host keys, cannot be used.
    """
    ssh = device.ssh
    if ssh.has_jump_host or ssh.trust_on_first_use:
        which = "spec.ssh.jumpHost" if ssh.has_jump_host else "spec.ssh.hostKeyPolicy 'TrustOnFirstUse'"
        raise Stalled("NotSupported", f"{which} is not supported by this version yet. Remove it.")
    where = f"Secret '{ssh.secret_name}' (spec.ssh.credentialsSecretRef)"
    secret = await objects.secret(device.namespace, ssh.secret_name)
    if secret is None:
        message = f"There is no {where}. Create it with 'kubectl create secret generic --type=kubernetes.io/ssh-auth'."
        raise Waiting("SshSecretNotFound", message, retry_after=30)
    private_key = secret.data.get("ssh-privatekey", b"")
    if not private_key.strip():
        raise Stalled("SshSecretInvalid", f"{where} has no key 'ssh-privatekey'. Add the private key.")
    known_hosts = _text(secret, "known_hosts")
    if not ssh.host_keys and not known_hosts:
        message = (
            f"No host key is pinned. List the device's keys in spec.ssh.hostKeys, or put 'known_hosts' in {where}."
        )
        raise Stalled("HostKeyNotPinned", message)
    return Login(
        host=ssh.host,
        port=ssh.port,
        user=ssh.user,
        private_key=private_key,
        passphrase=_text(secret, "passphrase") or None,
        host_keys=ssh.host_keys,
        known_hosts=known_hosts,
        certificate=secret.data.get("ssh-certificate"),
        allowed_networks=allowed_networks,
    )


def _text(secret: Secret, key: str) -> str:
    return secret.data.get(key, b"").decode("utf-8", "replace")


def as_next_step(error: DeviceError, device: EdgeDevice) -> ReconcileError:  # noqa: PLR0911 - one for each kind
    """What a failed session means for the pass."""
    host = device.ssh.host
    match error:
        case HostKeyMismatchError():
            message = (
                f"{host} presented {error.presented}, expected {' or '.join(error.expected) or 'none of its kind'}. Nothing was "
                "sent. If the device was re-imaged, put its new key in spec.ssh.hostKeys; otherwise somebody is in between."
            )
            return Stalled("HostKeyMismatch", message)
        case LoginRefusedError():
            message = (
                f"{host} does not accept user '{device.ssh.user}' with the key in Secret '{device.ssh.secret_name}'. "
                "Add the public key to the user's authorized_keys, or mend the Secret."
            )
            return Stalled("SshLoginRefused", message)
        case CredentialError():
            message = f"Secret '{device.ssh.secret_name}' or spec.ssh.hostKeys cannot be used: {error}. Mend it."
            return Stalled("SshSecretInvalid", message)
        case AddressNotAllowedError():
            message = (
                f"{host} is outside of the networks that HubConnection '{device.hub_name}' allows (spec.allowedCIDRs)."
            )
            return Stalled("AddressNotAllowed", message)
        case SudoRefusedError():
            message = f"User '{device.ssh.user}' on {host} may not use sudo without a password. Add a NOPASSWD rule to sudoers."
            return Stalled("SudoRefused", message)
        case OddAnswerError():
            message = f"{host} gave an answer that makes no sense: {error}. It is tried again."
            return Waiting("DeviceAnswerInvalid", message, retry_after=60)
        case _:
            message = f"{host} port {device.ssh.port} cannot be reached: {error}. It is tried again."
            return Waiting("DeviceUnreachable", message, retry_after=30)
