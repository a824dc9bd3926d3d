"""What a call that failed means: errors of the hub, of devices and of the API server, as what happens next."""

from edgeherd import fitting
from edgeherd.cluster.errors import ApiError, ConflictError, ContentRefusedError
from edgeherd.device.port import (
    AddressNotAllowedError,
    CredentialError,
    DeviceError,
    HostKeyMismatchError,
    JumpHostError,
    LoginRefusedError,
    OddAnswerError,
    Result,
    SudoRefusedError,
    TurnedAwayError,
)
from edgeherd.errors import ReconcileError, Stalled, Waiting
from edgeherd.hub.port import (
    AlreadyExistsError,
    BusyError,
    HubError,
    InvalidError,
    PreconditionFailedError,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
)
from edgeherd.masking import masked
from edgeherd.model import EdgeDevice, SshTarget
from edgeherd.reconcile.requeue import UNREACHABLE

REACHABLE = "Reachable"
"""The condition that a connection which breaks is about, whatever step was using it."""

REFUSED_BY_API_SERVER = "KubernetesRefused"
"""The reason of what the API server refuses."""


def from_hub_error(error: HubError) -> Waiting | Stalled:
    """What a failed call to the hub means for the pass."""
    match error:
        case RefusedError():
            message = (
                f"The hub refuses the credential of the HubConnection ({error.code}). "
                "Its administrator must fix the Secret; the policy needs registry read and write."
            )
            return Waiting("HubRefusedCredential", message, retry_after=60, observed=False)
        case QuotaExceededError():
            message = f"The hub is full or its quota for today is used up ({error.code}). Add units, or wait."
            return Waiting("HubQuotaExceeded", message, retry_after=600, observed=False)
        case ThrottledError() | BusyError():
            seconds = error.retry_after or 20
            message = "The hub asks for fewer requests. It is tried again later."
            if isinstance(error, BusyError):
                message = "The HubConnection's budget (spec.budget) is used up for the moment. It is tried again."
            reason = "HubThrottled" if isinstance(error, ThrottledError) else "HubBudgetSpent"
            return Waiting(reason, message, retry_after=seconds, observed=False)
        case InvalidError():
            message = f"The hub refuses the identity ({error.code}). Fix spec.identity or the hub."
            return Stalled("HubRefusedRequest", message)
        case AlreadyExistsError() | PreconditionFailedError():
            message = "The identity changed in the hub meanwhile. It is looked at again."
            return Waiting("HubChanging", message, retry_after=1)
        case _:
            message = f"The hub cannot be reached now ({error.code}). It is tried again."
            return Waiting("HubUnavailable", message, retry_after=15, observed=False)


def is_refusal(error: ApiError) -> bool:
    """Whether the API server says no and will say it again: to a right, a quota, a policy, or the content.

    Not to a token (401), an object that is gone or has changed (404, 409, 410), or too many requests (408, 429).
    """
    if isinstance(error, ConflictError):
        return False
    return isinstance(error, ContentRefusedError) or (400 <= error.status < 500 and error.status not in _NO_REFUSALS)


_NO_REFUSALS = frozenset({401, 404, 408, 409, 410, 429})


def from_api_error(error: ApiError, *, condition: str = "", observed: bool = False) -> Waiting:
    """What a refusal of the API server means for the pass: somebody fixes it elsewhere, and nobody tells.

    Its words name fields, rights and quotas, and are shown; but what a 400 quotes may be a Secret's content.

    Raises:
        ApiError: it is no refusal: the request may go through the next time.
    """
    if not is_refusal(error):
        raise error
    shown = "" if error.status in {400, 413} else f" ({fitting.cut(masked(error.message), 512)})"
    message = (
        f"The API server refuses what the operator has to do{shown}. Fix the right, the quota, the policy or the object that "
        "it names. It is tried again every minute."
    )
    return Waiting(REFUSED_BY_API_SERVER, message, retry_after=60, observed=observed, condition=condition)


def from_device_error(error: DeviceError, device: EdgeDevice) -> ReconcileError:
    """What a failed session means for the pass."""
    if isinstance(error, JumpHostError) and device.ssh.jump is not None:
        return _next_step(
            error.error, device, device.ssh.jump, f"Jump host {device.ssh.jump.host}", "spec.ssh.jumpHost"
        )
    return _next_step(error, device, device.ssh, device.ssh.host, "spec.ssh")


def _next_step(  # noqa: PLR0911 - one for each kind
    error: DeviceError, device: EdgeDevice, target: SshTarget, host: str, field: str
) -> ReconcileError:
    match error:
        case HostKeyMismatchError() if target.trust_on_first_use:
            message = (
                f"{host} presented {error.presented}, expected {' or '.join(error.expected)} as on first use. Nothing was "
                f"sent. If it was re-imaged, delete Secret '{device.known_hosts_name}'; otherwise somebody is in between."
            )
            return Stalled("HostKeyMismatch", message)
        case HostKeyMismatchError():
            message = (
                f"{host} presented {error.presented}, expected {' or '.join(error.expected) or 'none of its kind'}. Nothing was "
                f"sent. If the device was re-imaged, put its new key in {field}.hostKeys; otherwise somebody is in between."
            )
            return Stalled("HostKeyMismatch", message)
        case LoginRefusedError():
            message = (
                f"{host} refuses the login of user '{target.user}' with Secret '{target.secret_name}': {error}. "
                "Add the public key to the user's authorized_keys, or fix the Secret. It is tried once a minute, because "
                "OpenSSH 9.8 and later shut out an address that fails more often."
            )
            return Stalled("SshLoginRefused", message)
        case CredentialError():
            message = f"Secret '{target.secret_name}' or {field}.hostKeys cannot be used: {error}. Fix it."
            return Stalled("SshSecretInvalid", message)
        case AddressNotAllowedError():
            message = f"{host} may not be connected to: {error} (HubConnection '{device.hub_name}')."
            return Stalled("AddressNotAllowed", message)
        case SudoRefusedError():
            message = f"User '{target.user}' on {host} may not become root: {error}. {_remedy(error, target.user)}"
            return Stalled("SudoRefused", message)
        case OddAnswerError():
            message = f"{host} gave an answer that makes no sense: {error}. It is tried again."
            return Waiting("DeviceAnswerInvalid", message, retry_after=60)
        case _:
            message = f"{host} port {target.port} cannot be reached: {error}. It is tried again."
            # Who is turned away does not knock sooner.
            seconds = 60 if isinstance(error, TurnedAwayError) else 30
            return Waiting(UNREACHABLE, message, retry_after=seconds, condition=REACHABLE)


def _remedy(error: SudoRefusedError, user: str) -> str:
    if not error.installed:
        return "Install sudo with a NOPASSWD rule, or log in as root."
    if error.program == "doas":
        return f"Add 'permit nopass {user} as root' to /etc/doas.conf."
    return "Add a NOPASSWD rule to sudoers."


def from_result(result: Result, path: str) -> ReconcileError:
    """What a change of a device that was not applied means. `path` is the daemon's file."""
    reason, retry_after, template = _OUTCOMES[result]
    message = template.format(path=path)
    return Stalled(reason, message) if retry_after is None else Waiting(reason, message, retry_after=retry_after)


REFUSED = (
    "The daemon refuses the new configuration; {path} was put back as it was, and this is not tried again. "
    "Change the spec or the file."
)
_OUTCOMES: dict[Result, tuple[str, float | None, str]] = {
    Result.REFUSED: ("ConfigRejected", None, REFUSED),
    Result.HOSTNAME: (
        "HostNameInUse",
        None,
        (
            "'iotedge config apply' refuses another host name while there are containers; {path} is as it was. "
            "Remove the runtime's containers on the device, with what they did not store outside (docs/devices.md has the "
            "command), or take spec.runtime.hostname back."
        ),
    ),
    Result.CHANGED: (
        "ConfigChanging",
        2,
        "{path} was changed by somebody else meanwhile, or is just being changed. It is looked at again.",
    ),
    Result.FULL: ("ConfigUnwritable", 60, "{path} cannot be replaced: the device's file system is full. Make room."),
    Result.READ_ONLY: (
        "ConfigUnwritable",
        60,
        "{path} cannot be replaced: the device's file system is read-only. Remount it, or look for a broken disk.",
    ),
    Result.NO_FOLDER: (
        "ConfigUnwritable",
        300,
        (
            "The folder of {path} is not on the device: half of a package, or one of another kind (a snap), is installed. Install "
            "the runtime whole, or set spec.runtime.configPath to where its file is."
        ),
    ),
    Result.UNWRITABLE: (
        "ConfigUnwritable",
        60,
        "{path} cannot be replaced. Look at its file system and at what sudo allows.",
    ),
    Result.OWNER: (
        "ConfigUnwritable",
        None,
        "Owner, mode or SELinux context of {path} cannot be kept on a new file. Nothing was changed; check sudo's rights.",
    ),
    Result.PARENT: (
        "ConfigPathUnsafe",
        None,
        (
            "A folder on the way to {path}, or to a file beside it, is a symbolic link, belongs to a user other than root "
            "and the daemon's, or may be written to by everybody. Nothing was changed; fix the folder. If it is linked on "
            "purpose, set spec.runtime.configPath to the path where the file really is."
        ),
    ),
    Result.INCOMPLETE: (
        "ConfigIncomplete",
        5,
        "The new {path} did not arrive whole; the old one is untouched. It is tried again.",
    ),
}
"""Reason, seconds until the next try (None: only after a fix), and message."""
