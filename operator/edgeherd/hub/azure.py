"""The one door to the azure-iot-hub SDK: blocking calls in a bounded pool, own retries off, errors mapped to ours."""

import asyncio
import concurrent.futures
import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from aiolimiter import AsyncLimiter
from azure.iot.hub import IoTHubRegistryManager
from msrest.exceptions import ClientException, HttpOperationError

from edgeherd.hub.credential import HubCredential
from edgeherd.hub.port import (
    AlreadyExistsError,
    HubError,
    Identity,
    InvalidError,
    PreconditionFailedError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from edgeherd.model import Keys

_T = TypeVar("_T")

# msrest logs request headers (the SAS token) at DEBUG; the SDK's AMQP part is never used.
for _name in ("msrest", "uamqp", "urllib3", "requests"):
    logging.getLogger(_name).setLevel(logging.WARNING)

THREADS = 8
"""Calls to all hubs at once. A registry call takes about 0.1 s, and one hub allows 1.67 a second per unit."""

_ERRORS: dict[int, type[HubError]] = {
    400: InvalidError,
    401: RefusedError,
    403: RefusedError,
    409: AlreadyExistsError,
    412: PreconditionFailedError,
    429: ThrottledError,
}


def pool() -> concurrent.futures.ThreadPoolExecutor:
    """The threads that all hubs of a process share."""
    return concurrent.futures.ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="hub")


class AzureHub:
    """One hub's registry, behind one budget. Implements `port.Hub`."""

    def __init__(
        self,
        credential: HubCredential,
        *,
        port: int,
        operations_per_minute: int,
        executor: concurrent.futures.ThreadPoolExecutor,
        timeout: tuple[float, float] = (5.0, 60.0),
        ca_file: str | None = None,
    ) -> None:
        self._executor = executor
        self._budget = AsyncLimiter(operations_per_minute, 60)
        self._manager = IoTHubRegistryManager.from_connection_string(credential.connection_string(port))
        config = self._manager.protocol.config
        config.keep_alive = True
        if ca_file is not None:  # otherwise REQUESTS_CA_BUNDLE, or the public authorities
            config.connection.verify = ca_file
        # (connect, read): the hub queues requests before it throttles, so the read time-out is generous.
        config.connection.timeout = timeout
        # Hidden retries of a PUT turn a lost reply into a 409; looking again is this operator's own business.
        config.retry_policy.retries = 0
        config.retry_policy.policy.raise_on_status = False
        config.retry_policy.policy.respect_retry_after_header = False

    async def _call(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        async with self._budget:
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(self._executor, functools.partial(function, *args, **kwargs))
            except HttpOperationError as exc:
                raise _mapped(exc) from None
            except ClientException as exc:
                inner = getattr(exc, "inner_exception", None) or exc
                raise UnavailableError(type(inner).__name__, "The hub could not be reached.") from None

    async def get(self, device_id: str) -> Identity | None:
        """See `port.Hub`."""
        try:
            return _identity(await self._call(self._manager.get_device, device_id))
        except _NotFoundError:
            return None

    async def create(self, device_id: str, keys: Keys, *, enabled: bool) -> Identity:
        """See `port.Hub`."""
        device = await self._call(
            self._manager.create_device_with_sas,
            device_id,
            keys.primary,
            keys.secondary,
            _status(enabled),
            iot_edge=True,
        )
        return _identity(device)

    async def update(self, identity: Identity, *, enabled: bool, keys: Keys) -> Identity:
        """See `port.Hub`. Both keys and both scopes are echoed: an omitted key rotates, an omitted scope is refused."""
        try:
            device = await self._call(
                self._manager.update_device_with_sas,
                identity.device_id,
                identity.etag,
                keys.primary,
                keys.secondary,
                _status(enabled),
                iot_edge=True,
                status_reason=identity.status_reason,
                device_scope=identity.device_scope,
                parent_scopes=list(identity.parent_scopes) or None,
            )
        except _NotFoundError as exc:
            raise PreconditionFailedError(exc.code, exc.message) from None
        return _identity(device)

    async def delete(self, identity: Identity) -> None:
        """See `port.Hub`."""
        try:
            await self._call(self._manager.delete_device, identity.device_id, etag=identity.etag)
        except _NotFoundError:
            return

    async def probe(self) -> None:
        """See `port.Hub`."""
        await self._call(self._manager.get_devices, 1)


class _NotFoundError(HubError):
    """404 of a single identity."""


def _mapped(error: HttpOperationError) -> HubError:
    """The hub's refusal in our terms, without its tracking ids."""
    response = error.response
    status = int(response.status_code)
    code = response.headers.get("iothub-errorcode") or f"HTTP{status}"
    # A 404 without the hub's own word may be a proxy's: it must not read as "absent".
    if status == 404 and code == "DeviceNotFound":
        return _NotFoundError(code, "There is no such device.")
    kind = _ERRORS.get(status, UnavailableError)
    return kind(code, f"The hub answered {status} {code}.")


def _status(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _identity(device: Any) -> Identity:
    authentication, symmetric = device.authentication, None
    if authentication is not None and authentication.type == "sas" and authentication.symmetric_key is not None:
        key = authentication.symmetric_key
        if key.primary_key and key.secondary_key:
            symmetric = Keys(primary=key.primary_key, secondary=key.secondary_key)
    return Identity(
        device_id=device.device_id,
        generation_id=device.generation_id or "",
        etag=device.etag or "",
        enabled=device.status == "enabled",
        iot_edge=bool(device.capabilities and device.capabilities.iot_edge),
        authentication=authentication.type if authentication is not None else "none",
        keys=symmetric,
        status_reason=device.status_reason,
        device_scope=device.device_scope,
        parent_scopes=tuple(device.parent_scopes or ()),
    )
