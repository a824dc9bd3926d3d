"""The one door to the azure-iot-hub SDK: blocking calls in threads of the hub's own, bounded, errors mapped to ours."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from aiolimiter import AsyncLimiter
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import CredentialUnavailableError, WorkloadIdentityCredential
from msrest.exceptions import ClientException, HttpOperationError

from edgeherd.fence import OPEN, Fence
from edgeherd.hub import refusals, sdk, sdk_values
from edgeherd.hub.budget import Budget
from edgeherd.hub.credential import HubCredential, WorkloadIdentity
from edgeherd.hub.port import (
    HubError,
    Identity,
    Listed,
    Owner,
    PreconditionFailedError,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
    Twin,
    UnavailableError,
)
from edgeherd.hub.refusals import NotFoundError
from edgeherd.hub.transport import Call, ClosedError, Threads, Transport
from edgeherd.model import Credentials, HubConnection, Key

_T = TypeVar("_T")

# msrest logs request headers (the SAS token) at DEBUG.
for _name in ("msrest", "urllib3", "requests", "azure"):
    logging.getLogger(_name).setLevel(logging.WARNING)

THREADS = 4
"""Calls to one hub at once: 40 a second, where a registry call takes about 0.1 s. A hub that hangs holds no others."""

CONNECT_SECONDS = 5.0
"""For each address of the hub."""

CALL_SECONDS = 60.0
"""For a call with all that it waits for. The hub queues requests before it throttles, so it is generous."""

TWIN_SECONDS = 10.0
"""The same for a twin read, which only spares a registry call."""

ANSWER_BYTES = 1024 * 1024
"""An identity has some 2 KiB, a twin up to 72 KiB of content and a time stamp for each value in it."""

PAGE_BYTES = 32 * 1024 * 1024
"""The same for a page of a query: `_PAGE` twins of 72 KiB (devguide-device-twins), with 250 KiB of time stamps each."""

TWIN_READS_PER_SECOND = 20
"""A fifth of what the smallest hub allows (devguide-quotas-throttling: 100 a second)."""

NO_TWINS_SECONDS = 900.0
"""How long a credential that may not read twins is not asked to again."""

FAILURES = 3
"""So many time-outs or 5xx without a success between them are the hub's trouble, not that of a device."""

DOWN_SECONDS = 20.0
"""How long a hub in trouble is not asked by devices, then by one in each such time; its own probe goes on."""

_PAGE = 100


def _manager(login: HubCredential | WorkloadIdentity, port: int) -> sdk.Registry:
    if isinstance(login, HubCredential):
        return sdk.Registry.from_connection_string(login.connection_string(port))
    named = {key: value for key, value in (("client_id", login.client_id), ("tenant_id", login.tenant_id)) if value}
    try:
        credential = WorkloadIdentityCredential(**named)
    except ValueError:
        message = "The Pod has no workload identity: AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE."
        raise RefusedError("WorkloadIdentityMissing", message) from None
    return sdk.Registry.from_token_credential(login.authority(port), credential)


class HubClient:
    """The client of one hub, which all devices of a HubConnection share, and its budget."""

    def __init__(
        self,
        login: HubCredential | WorkloadIdentity,
        *,
        port: int,
        operations_per_minute: int,
        seconds: float = CALL_SECONDS,
        ca_file: str | None = None,
        on_trouble: Callable[[], None] = lambda: None,
        fence: Fence = OPEN,
        answered: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        """`answered` is told the operation of each request, and the HTTP status of its answer; '<error>' for none."""
        self.budget = Budget(operations_per_minute, at_once=THREADS)
        self._login = login
        self._port = port
        self._seconds = seconds
        self._threads = Threads(THREADS)
        self._transport = Transport(THREADS)
        self._ca_file = ca_file
        self._fence = fence
        self._opened: Any = None
        self._twin_reads = AsyncLimiter(TWIN_READS_PER_SECOND, 1)
        self._no_twins_until = {False: 0.0, True: 0.0}
        """Reads and writes are permissions of their own with Entra ID (twins/read, twins/write)."""
        self._twin_failures = 0
        self._twins_down_until = 0.0
        self._on_trouble = on_trouble
        self._answered = answered
        self._failures = 0
        self._down: HubError | None = None
        self._down_until = 0.0

    def on_behalf_of(self, namespace: str) -> "AzureHub":
        """The hub as one namespace uses it: requests of namespaces take turns."""
        return AzureHub(self, namespace)

    def _open(self) -> Any:
        """The SDK's client, made in one of the hub's threads: a workload identity reads its token's file."""
        if self._opened is None:
            manager = _manager(self._login, self._port)
            config = manager.protocol.config
            config.keep_alive = True
            if self._ca_file is not None:  # otherwise REQUESTS_CA_BUNDLE, or the public authorities
                config.connection.verify = self._ca_file
            config.connection.timeout = (CONNECT_SECONDS, self._seconds)
            config.redirect_policy.allow = False
            # Not msrest's adapter, which also retries: a hidden retry of a PUT turns a lost reply into a 409.
            config.session_configuration_callback = self._configure
            self._opened = manager
        return self._opened

    def _configure(self, session: Any, *_: object, **kwargs: object) -> dict[str, object]:
        """What msrest calls before each request: its sessions, one for each thread, get the hub's transport."""
        session.mount("https://", self._transport)
        return kwargs

    @property
    def remaining(self) -> int:
        """See `Budget.remaining`."""
        return self.budget.remaining

    async def registry_call(
        self, tenant: str, operation: str, function: Callable[[Any], _T], *, write: bool = False
    ) -> _T:
        """One registry operation, when the budget admits it and the hub is not known to be in trouble."""
        self._raise_if_down()
        async with self.budget.admitted(tenant, write=write):
            self._raise_if_down()  # others may have found out meanwhile
            if self._down is not None:  # this one tries: if the hub still hangs, the others shall not hang with it
                self._down_until = asyncio.get_running_loop().time() + DOWN_SECONDS
            try:
                answer = await self._run(operation, function, write=write)
            except HubError as exc:
                await self._failed(exc)
                raise
        self._succeeded()
        return answer

    def _raise_if_down(self) -> None:
        if self._down is not None and asyncio.get_running_loop().time() < self._down_until:
            raise type(self._down)(self._down.code, self._down.message)

    async def probe(self) -> None:
        """Ask the hub for something cheap, whatever is known of its trouble."""
        try:
            await self._run("list_identities", _probe)
        except HubError as exc:
            self._suspect(exc)
            raise
        self._succeeded()

    async def _failed(self, error: HubError) -> None:
        """Tell a trouble of the hub from one of a single device: a fleet shall not find it out one by one."""
        match error:
            case ThrottledError():
                self.budget.throttled()
            case RefusedError():
                with contextlib.suppress(HubError):
                    await self.probe()
            case UnavailableError():
                self._suspect(error)
            case _:
                self._succeeded()

    def _suspect(self, error: HubError) -> None:
        """The hub may be in trouble: refusals say it at once, time-outs and 5xx only when they repeat."""
        if isinstance(error, UnavailableError):
            self._failures += 1
        if self._failures >= FAILURES or isinstance(error, RefusedError | QuotaExceededError):
            if self._down is None:
                self._on_trouble()
            self._down, self._down_until = error, asyncio.get_running_loop().time() + DOWN_SECONDS

    def _succeeded(self) -> None:
        self._failures, self._down = 0, None
        self.budget.served()

    async def twin(self, operation: str, call: Callable[[Any], _T], *, write: bool = False) -> _T | None:
        """What a call that concerns a twin gives; None where this credential may not make it, or there is no twin."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._no_twins_until[write]:
            return None
        self._raise_if_down()
        if loop.time() < self._twins_down_until:
            raise UnavailableError("TwinsUnavailable", "Twins could not be reached some times in a row.")
        async with self._twin_reads:
            try:
                answer = await self._run(operation, call, write=write, seconds=TWIN_SECONDS)
            except RefusedError:
                self._no_twins_until[write] = loop.time() + NO_TWINS_SECONDS
                return None
            except NotFoundError:
                return None
            except UnavailableError:
                self._twin_failures += 1
                if self._twin_failures >= FAILURES:
                    self._twins_down_until = loop.time() + DOWN_SECONDS
                raise
        self._twin_failures = 0
        return answer

    async def query(self, text: str) -> list[Any]:
        """All rows of a query. The index lags behind: never proof that something is there or not."""
        rows: list[Any] = []
        token = None
        while True:
            call = functools.partial(_query, text=text, token=token)
            page, token = await self._run("query", call, most_bytes=PAGE_BYTES)
            rows += page
            if not token:
                return rows

    async def _run(
        self,
        operation: str,
        function: Callable[[Any], _T],
        *,
        write: bool = False,
        seconds: float = CALL_SECONDS,
        most_bytes: int = ANSWER_BYTES,
    ) -> _T:
        """What the SDK answers, within the bounds. A write that is given up is not sent any more, if it was not yet.

        Raises:
            HubError: the hub did not do it.
            NotLeadingError: the fence did not let a write pass.
        """
        seconds = min(seconds, self._seconds)
        call = Call(seconds=seconds, most_bytes=most_bytes, fence=self._fence if write else OPEN)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, lambda: call.run(lambda: function(self._open()))
                )
        except TimeoutError:
            raise UnavailableError("Timeout", f"The hub did not answer within {seconds:g} s.") from None
        except ClosedError:
            raise UnavailableError("Closed", "The HubConnection has changed.") from None
        except HttpOperationError as exc:
            headers, status = exc.response.headers, int(exc.response.status_code)
            raise refusals.of(status, headers.get("iothub-errorcode")) from None
        except ClientException as exc:
            inner = getattr(exc, "inner_exception", None) or exc
            raise UnavailableError(call.ended_by or type(inner).__name__, "The hub could not be reached.") from None
        except (ClientAuthenticationError, CredentialUnavailableError) as exc:
            raise RefusedError(type(exc).__name__, "There is no token for the workload identity.") from None
        except (AzureError, AttributeError, TypeError, ValueError, RecursionError):
            # An answer that is none of the hub's, a proxy's page say. What it says may hold keys: it is not repeated.
            raise UnavailableError("AnswerInvalid", "The answer is not that of a hub.") from None
        finally:
            call.abandon()
            self._answered(operation, str(call.status or "<error>"))

    def close(self) -> None:
        """Let go of the connections and threads; calls under way go on to their end."""
        self._threads.shutdown()
        self._transport.close()


def _probe(manager: Any) -> None:
    if not isinstance(manager.get_devices(1), list):  # nothing at all is taken for None
        raise TypeError("the answer is no list of devices")


def _update_tags(manager: Any, *, device_id: str, tags: dict[str, Any], etag: str) -> Twin:
    return sdk_values.twin(manager.update_tags(device_id, tags, etag))


def client_of(
    connection: HubConnection,
    login: HubCredential | WorkloadIdentity,
    *,
    on_trouble: Callable[[Key], None] = lambda _: None,
    fence: Fence = OPEN,
    answered: Callable[[str, str, str], None] = lambda *_: None,
) -> HubClient:
    """The client of a HubConnection's hub.

    `on_trouble` is told the HubConnection's key when the hub gets into trouble; `answered` the HubConnection's name, the
    operation and the HTTP status of each request.
    """
    return HubClient(
        login,
        port=connection.port,
        operations_per_minute=connection.registry_operations_per_minute,
        on_trouble=functools.partial(on_trouble, connection.key),
        fence=fence,
        answered=functools.partial(answered, connection.name),
    )


def _query(manager: Any, *, text: str, token: str | None) -> Any:
    return manager.query(text, token, _PAGE)


class AzureHub:
    """One hub on behalf of one namespace. Implements `port.Hub`."""

    def __init__(self, registry: HubClient, tenant: str) -> None:
        self._registry = registry
        self._tenant = tenant

    async def get(self, device_id: str) -> Identity | None:
        """See `port.Hub`."""
        try:
            return await self._read("get_identity", lambda manager: sdk_values.identity(manager.get_device(device_id)))
        except NotFoundError:
            return None

    async def twin(self, device_id: str) -> Twin | None:
        """See `port.Hub`."""
        return await self._registry.twin("get_twin", lambda manager: sdk_values.twin(manager.get_twin(device_id)))

    async def mark(self, device_id: str, owner: Owner, *, etag: str) -> bool:
        """See `port.Hub`. A merge patch: tags of others stay."""
        tags = {sdk_values.OWNER_TAG: dataclasses.asdict(owner)}
        call = functools.partial(_update_tags, device_id=device_id, tags=tags, etag=etag)
        return await self._registry.twin("update_twin", call, write=True) is not None

    async def agent_connected(self, device_id: str) -> bool | None:
        """See `port.Hub`."""
        try:
            state = await self._registry.twin(
                "get_module_twin", lambda m: m.get_module_twin(device_id, "$edgeAgent").connection_state
            )
        except HubError:
            return None
        return state == "Connected" if isinstance(state, str) else None

    async def create(self, device_id: str, credentials: Credentials, *, enabled: bool) -> Identity:
        """See `port.Hub`."""
        device = sdk.device(device_id, credentials, enabled=enabled)
        return await self._write("create_identity", lambda manager: sdk_values.identity(manager.put_device(device)))

    async def update(self, identity: Identity, *, enabled: bool, credentials: Credentials) -> Identity:
        """See `port.Hub`. Both keys and both scopes are echoed: an omitted key rotates, an omitted scope is refused."""
        device = sdk.device(
            identity.device_id,
            credentials,
            enabled=enabled,
            status_reason=identity.status_reason,
            # What becomes an edge device gets its scope from the hub; its parent is in parentScopes.
            device_scope=identity.device_scope if identity.iot_edge else "",
            parent_scopes=identity.parent_scopes,
        )
        try:
            return await self._write(
                "update_identity", lambda manager: sdk_values.identity(manager.put_device(device, identity.etag))
            )
        except NotFoundError as exc:
            raise PreconditionFailedError(exc.code, exc.message) from None

    async def delete(self, identity: Identity) -> None:
        """See `port.Hub`."""
        try:
            await self._write(
                "delete_identity", lambda manager: manager.delete_device(identity.device_id, etag=identity.etag)
            )
        except NotFoundError:
            return

    async def probe(self) -> None:
        """See `port.Hub`."""
        await self._registry.probe()

    async def edge_devices(self) -> tuple[Listed, ...]:
        """See `port.Hub`."""
        devices = await self._registry.query("SELECT * FROM devices WHERE capabilities.iotEdge = true")
        counts = await self._registry.query("SELECT deviceId FROM devices.modules")
        modules: dict[str, int] = {}
        for row in counts:
            modules[row.device_id] = modules.get(row.device_id, 0) + 1
        found = [sdk_values.listed(twin, modules.get(twin.device_id, 0)) for twin in devices]
        return tuple(sorted(found, key=lambda listed: listed.device_id))

    async def _read(self, operation: str, function: Callable[[Any], _T]) -> _T:
        return await self._registry.registry_call(self._tenant, operation, function)

    async def _write(self, operation: str, function: Callable[[Any], _T]) -> _T:
        return await self._registry.registry_call(self._tenant, operation, function, write=True)
