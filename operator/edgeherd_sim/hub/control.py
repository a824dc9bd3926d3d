"""The control API under `/$sim/`: orders faults, changes identities behind the clients' backs, shows the request log."""

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from edgeherd_sim.hub import calls, rules, sas, views
from edgeherd_sim.hub import wire as wires
from edgeherd_sim.hub.calls import Reply
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.store import Store
from edgeherd_sim.hub.wire import Wire

TOKEN_HEADER = "x-sim-token"  # noqa: S105  (a header's name)
_PREFIX = "$sim"
_NEWS_SECONDS = 20.0
_DIGITS = 15
_FAULT_FIELDS = {"kind", "count", "seconds", "code", "delay", "method", "path"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The door in front of the wire: `/$sim/…` is answered here, everything else by the hub."""

    wire: Wire
    token: str | None

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        """One request, to whichever side."""
        segments, _ = wires.taken_apart(request)
        if segments[0] != _PREFIX:
            return await self.wire.handle(request)
        try:
            self._admit(request)
            body = _body(await request.read())
            match (request.method, *segments[1:]):
                case ("GET", "news"):
                    reply = await self._news(request.query.get("after", "0"))
                case ("GET", "devices", device, "modules", module, "twin"):
                    reply = Reply(body=views.twin(*self.wire.store.twin((device, module)))["properties"])
                case _:
                    reply = self._perform(request.method, segments[1:], body)
            await self.wire.save()
        except HubError as exc:
            return wires.refusal(exc, flat=False)
        return wires.answer(reply)

    def _admit(self, request: web.Request) -> None:
        if self.token is not None:
            admitted = request.headers.get(TOKEN_HEADER) == self.token
        else:
            admitted = ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback  # noqa: S104  (an address that is refused)
        if not admitted:
            raise HubError("IotHubUnauthorizedAccess", f"The control API wants the header {TOKEN_HEADER}.")

    async def _news(self, after: str) -> Reply:
        """Devices whose `$edgeAgent` has other desired properties; waits for the first one."""
        if not after.isdecimal() or len(after) > _DIGITS:
            raise invalid("after: the number of an earlier answer is expected.")
        at, devices = await self.wire.news.after(int(after), seconds=_NEWS_SECONDS)
        return Reply(body={"at": at, "devices": devices})

    def _perform(self, method: str, segments: tuple[str, ...], body: Mapping[str, Any]) -> Reply:
        match (method, *segments):
            case ("GET", "requests"):
                return Reply(body=self.wire.journal.listed())
            case ("DELETE", "requests"):
                self.wire.journal.clear()
            case ("GET", "faults"):
                return Reply(body=self.wire.faults.listed())
            case ("POST", "faults"):
                self._order(body)
            case ("DELETE", "faults"):
                self.wire.faults.clear()
            case ("GET", "index"):
                return Reply(body={"lag": self.wire.index.lag, "ghost": self.wire.index.ghost})
            case ("PUT", "index"):
                lag, ghost = _seconds(body, "lag"), _seconds(body, "ghost")
                self.wire.index.lag, self.wire.index.ghost = lag, ghost
            case ("GET", "policies"):
                return Reply(body=self.wire.authenticator.policies)
            case (_, "devices", device, *rest):
                self._behind_backs(method, device, tuple(rest), body)
            case _:
                raise HubError("ResourceNotFound", "The control API has nothing at this address.")
        return Reply(status=204)

    def _order(self, body: Mapping[str, Any]) -> None:
        if unknown := set(body) - _FAULT_FIELDS:
            raise invalid(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(_FAULT_FIELDS))}")
        for name, kind in (("count", int), ("seconds", int | float), ("delay", int | float)):
            value = body.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind) or value < 0):
                raise invalid(f"{name}: a number is expected.")
        for name in ("code", "method", "path"):
            if not isinstance(body.get(name, ""), str):
                raise invalid(f"{name}: a text is expected.")
        try:
            self.wire.faults.add(**{name: value for name, value in body.items() if value is not None})
        except (TypeError, ValueError) as exc:
            raise invalid(str(exc)) from None

    def _behind_backs(self, method: str, device: str, rest: tuple[str, ...], body: Mapping[str, Any]) -> None:
        """What somebody else did to an identity, without the clients' knowledge."""
        store = self.wire.store
        actions: Mapping[tuple[str, ...], Callable[[], object]] = {
            ("DELETE",): lambda: store.remove(store.device(device).device_id),
            ("POST", "rotate-keys"): lambda: store.rotate((device, ""), body.get("policyKey", "both")),
            ("POST", "recreate"): lambda: store.recreate(device),
            ("POST", "enable"): lambda: store.set_status(device, "enabled"),
            ("POST", "disable"): lambda: store.set_status(device, "disabled", rules.status_reason(body.get("reason"))),
            ("POST", "connect"): lambda: store.touch((device, "")),
            ("POST", "disconnect"): lambda: store.touch((device, ""), connected=False),
            ("PATCH", "reported"): lambda: store.report((device, ""), body),
        }
        match (method, *rest):
            case ("POST", "modules", module, "connect" | "disconnect" as what):
                store.touch((device, module), connected=what == "connect")
            case ("PATCH", "modules", module, "reported"):
                store.report((device, module), body)
            case ("POST", "present"):
                _present(store, device, body)
            case action if action in actions:
                actions[action]()
            case _:
                raise HubError("ResourceNotFound", "The control API has nothing at this address.")


def _present(store: Store, device: str, body: Mapping[str, Any]) -> None:
    """A device shows its certificate, as a real one does in the TLS handshake: here by its thumbprint."""
    identity = store.device(device)
    known = {identity.authentication.primary_thumbprint, identity.authentication.secondary_thumbprint} - {None}
    if identity.status != "enabled" or str(body.get("thumbprint", "")).upper() not in {str(t).upper() for t in known}:
        raise sas.unauthorized()


def _body(raw: bytes) -> Mapping[str, Any]:
    body = calls.parsed(raw or b"{}")
    if not isinstance(body, dict):
        raise HubError("IotHubFormatError", "The body must be an object.")
    return body


def _seconds(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise invalid(f"{name} must be a number of seconds.")
    return float(value)
