"""What the hub's refusals mean, in our terms. Pure."""

from edgeherd.hub.port import (
    AlreadyExistsError,
    HubError,
    InvalidError,
    PreconditionFailedError,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
    UnavailableError,
    error_code,
)

_BY_STATUS: dict[int, type[HubError]] = {
    400: InvalidError,
    401: RefusedError,
    403: RefusedError,
    409: AlreadyExistsError,
    412: PreconditionFailedError,
    429: ThrottledError,
}
_FULL = frozenset({"IotHubQuotaExceeded", "TooManyDevices"})


class NotFoundError(HubError):
    """404 of a single identity."""


def of(status: int, word: str | None) -> HubError:
    """A refusal, without the hub's tracking ids.

    Args:
        status: the HTTP status.
        word: the header `iothub-errorcode`; None where there is none.
    """
    code = error_code(word or f"HTTP{status}")
    # A 404 without the hub's own word may be a proxy's: it must not read as "absent".
    if status == 404 and code == "DeviceNotFound":
        return NotFoundError(code, "There is no such device.")
    kind = QuotaExceededError if code in _FULL else _BY_STATUS.get(status, UnavailableError)
    return kind(code, f"The hub answered {status} {code}.")
