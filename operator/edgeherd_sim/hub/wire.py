"""HTTP: from a request to a call, through faults, authentication and throttle, and back with the hub's headers and envelopes."""

import asyncio
import dataclasses
import json
import secrets
import time
import urllib.parse
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from edgeherd_sim.hub import calls, faults, sas
from edgeherd_sim.hub.auth import Authenticator, Caller
from edgeherd_sim.hub.calls import Call, Reply, Route
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.faults import Fault, Faults, Kind
from edgeherd_sim.hub.index import Index
from edgeherd_sim.hub.journal import Entry, Journal
from edgeherd_sim.hub.news import News
from edgeherd_sim.hub.routes import ROUTES
from edgeherd_sim.hub.store import Store
from edgeherd_sim.hub.throttle import Throttle

_TYPE = "application/json; charset=utf-8"


class _DroppedError(Exception):
    """The connection is to be cut instead of answered."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The hub behind its socket."""

    store: Store
    index: Index
    authenticator: Authenticator
    faults: Faults
    throttle: Throttle
    journal: Journal
    news: News
    save: Callable[[], Awaitable[None]]
    """Called before every answer: what was acknowledged is on disk."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request of a client."""
        segments, path = taken_apart(request)
        entry = Entry(at=self.store.at(), method=request.method, path=path, query=request.rel_url.raw_query_string)
        self.journal.add(entry)
        orders = self.faults.take(request.method, path)
        entry.faults = tuple(order.kind.value for order in orders)
        flat = False
        try:
            # Before anything else: a client that gives up waiting has sent it, and the hub goes on with it.
            raw = await _body_of(request)
            await _before(orders)
            route, params = calls.find(ROUTES, request.method, segments)
            flat = route.flat_errors
            response = answer(await self._perform(request, route, params, path, entry, raw=raw))
            await self.save()
            _drop_after_commit(orders)
        except HubError as exc:
            entry.error = exc.code
            response = refusal(exc, flat=flat)
        except _DroppedError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        entry.status = response.status
        return response

    async def _perform(
        self, request: web.Request, route: Route, params: dict[str, str], path: str, entry: Entry, *, raw: bytes
    ) -> Reply:
        caller = self.authenticator.identify(request.headers.get("Authorization"), path, now=time.time())
        entry.caller = caller.name
        if not _allowed(caller, route, params):
            raise sas.unauthorized()
        _check_version(route, request)
        wait = self.throttle.admit(route.operation, route.cost(raw))
        if wait:
            await asyncio.sleep(wait)
        return route.handler(
            Call(
                store=self.store,
                index=self.index,
                caller=caller,
                params=params,
                query=request.query,
                headers=request.headers,
                raw=raw,
            )
        )


async def _body_of(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise HubError("MessageTooLarge", "The body is too large.") from None


def taken_apart(request: web.Request) -> tuple[tuple[str, ...], str]:
    """The segments of the path, each decoded once, after the split: ids may hold an encoded slash; and the whole."""
    raw = request.raw_path.partition("?")[0]
    if "://" in raw:
        raw = "/" + raw.split("://", 1)[1].partition("/")[2]
    segments = tuple(urllib.parse.unquote(segment) for segment in raw.strip("/").split("/"))
    return segments, "/" + "/".join(segments)


def refusal(error: HubError, *, flat: bool) -> web.Response:
    """An error in the envelope that the address uses."""
    tracking = f"{secrets.token_hex(16)}-G:0"
    at = time.gmtime()
    body: dict[str, Any] = {
        "Message": f"ErrorCode:{error.code};{error.message}",
        "ExceptionMessage": f"Tracking ID:{tracking}-TimeStamp:{time.strftime('%m/%d/%Y %H:%M:%S', at)}",
    }
    if flat:
        body = {
            "errorCode": error.number,
            "message": f"{error.code}: {error.message}",
            "trackingId": tracking,
            "timestampUtc": time.strftime("%Y-%m-%dT%H:%M:%SZ", at),
        }
    headers = {"iothub-errorcode": error.code}
    if error.code.startswith("Throttl"):
        headers["Connection"] = "close"
    return answer(Reply(status=error.status, body=body, headers=headers))


def _drop_after_commit(orders: list[Fault]) -> None:
    if any(order.kind is Kind.DROP_AFTER_COMMIT for order in orders):
        raise _DroppedError


async def _before(orders: list[Fault]) -> None:
    for order in orders:
        match order.kind:
            case Kind.LATENCY:
                await asyncio.sleep(order.delay)
            case Kind.THROTTLE:
                raise faults.throttled()
            case Kind.ERROR:
                raise HubError(order.code, "The fault was ordered.")
            case Kind.REFUSE_CREDENTIAL:
                raise sas.unauthorized()
            case Kind.DROP:
                raise _DroppedError
            case Kind.DROP_AFTER_COMMIT:
                pass


def _allowed(caller: Caller, route: Route, params: dict[str, str]) -> bool:
    """By policy, or with its own key about itself. A device speaks for its modules too."""
    if route.right in caller.rights:
        return True
    if not route.own or caller.identity is None:
        return False
    device, module = caller.identity
    return device == params["device"] and module in {"", params.get("module", "")}


def _check_version(route: Route, request: web.Request) -> None:
    version = request.query.get("api-version")
    if route.versions is not None and version not in route.versions:
        raise HubError("InvalidProtocolVersion", f"The api-version '{version or ''}' is not supported.")


def answer(reply: Reply) -> web.Response:
    """A reply with the headers that every answer has."""
    headers = {**reply.headers, "x-ms-request-id": str(uuid.uuid4())}
    if reply.etag is not None:
        headers["ETag"] = f'"{reply.etag}"'
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    headers["Content-Type"] = _TYPE
    return web.Response(status=reply.status, headers=headers, body=json.dumps(reply.body).encode())
