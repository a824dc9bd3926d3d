"""The refusals of the API: `Status` objects, worded as kube-apiserver words them, because kubectl prints them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

Body = dict[str, Any]


class HasCause(Protocol):
    """One reason why an object is invalid."""

    @property
    def reason(self) -> str:
        """Such as `FieldValueInvalid`."""

    @property
    def field(self) -> str:
        """Such as `spec.ssh.host`."""

    @property
    def message(self) -> str:
        """The sentence without the field."""


class Failure(Exception):  # noqa: N818 - the API's own word for it
    """A refused request; becomes a `Status` with its code."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> Body:
        """The `Status` that the client gets."""
        status: Body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = dict(self.details)
        return status | {"code": self.code}


def _details(group: str, kind: str, name: str) -> Body:
    found = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in found.items() if value}


def qualified(group: str, plural: str) -> str:
    """How messages name a resource: `secrets`, `edgedevices.edgeherd.io`."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> Failure:
    """The object does not exist."""
    return Failure(404, "NotFound", f'{qualified(group, plural)} "{name}" not found', _details(group, plural, name))


def no_such_path() -> Failure:
    """The resource itself does not exist."""
    return Failure(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, plural: str, name: str) -> Failure:
    """The name is taken."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return Failure(409, "AlreadyExists", message, _details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> Failure:
    """The object is not what the client thinks it is."""
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return Failure(409, "Conflict", message, _details(group, plural, name))


def stale(group: str, plural: str, name: str) -> Failure:
    """The resourceVersion is not the current one."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(group, plural, name, why)


def bad_request(message: str) -> Failure:
    """The request makes no sense by itself."""
    return Failure(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str, causes: Iterable[HasCause] = ()) -> Failure:
    """The request is understood, and not allowed."""
    message = f'{qualified(group, plural)} "{name}" is forbidden: {why}'
    details = _details(group, plural, name)
    listed = _causes(causes)
    if listed:
        details["causes"] = listed
    return Failure(403, "Forbidden", message, details)


def invalid(group: str, kind: str, name: str, causes: Sequence[HasCause]) -> Failure:
    """The object breaks rules of its kind."""
    sentences = [f"{cause.field}: {cause.message}" for cause in causes]
    # The real server names each sentence once.
    unique = list(dict.fromkeys(sentences))
    text = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
    details = _details(group, kind, name) | {"causes": _causes(causes)}
    return Failure(422, "Invalid", f'{qualified(group, kind)} "{name}" is invalid: {text}', details)


def _causes(causes: Iterable[HasCause]) -> list[Body]:
    return [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]


def expired(message: str) -> Failure:
    """A resourceVersion or continue token is too old."""
    return Failure(410, "Expired", message)


def unauthorized() -> Failure:
    """No token, or a wrong one."""
    return Failure(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> Failure:
    """The resource has no such verb."""
    message = "the server does not allow this method on the requested resource"
    return Failure(405, "MethodNotAllowed", message, {})


def unsupported_media(accepted: Sequence[str]) -> Failure:
    """The body is in a format that this resource does not take."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return Failure(415, "UnsupportedMediaType", message)
