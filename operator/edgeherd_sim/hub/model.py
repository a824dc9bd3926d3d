"""The values of the registry: frozen, and without any shape of the wire."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

NEVER = "0001-01-01T00:00:00"
"""The time that Azure writes for "not yet", in identities without a zone."""

Key = tuple[str, str]
"""A device id and a module id; the module id of a device itself is empty."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How an identity proves itself. The keys are secrets and stay out of `repr`."""

    type: str = "sas"
    primary_key: str | None = dataclasses.field(default=None, repr=False)
    secondary_key: str | None = dataclasses.field(default=None, repr=False)
    primary_thumbprint: str | None = None
    secondary_thumbprint: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that open this identity: none unless it authenticates by SAS."""
        return tuple(key for key in (self.primary_key, self.secondary_key) if key) if self.type == "sas" else ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device, or a module of one where `module_id` is set."""

    device_id: str
    module_id: str = ""
    generation_id: str
    revision: int
    authentication: Authentication
    status: str = "enabled"
    status_reason: str | None = None
    status_updated: str = NEVER
    edge: bool = False
    device_scope: str | None = None
    parent_scopes: tuple[str, ...] = ()
    managed_by: str | None = None
    connected: bool = False
    connection_updated: str = NEVER
    last_activity: str = NEVER

    @property
    def key(self) -> Key:
        """Where the store keeps it."""
        return (self.device_id, self.module_id)

    @property
    def etag(self) -> str:
        """The base64 of a decimal counter, without quotation marks."""
        return base64.b64encode(str(self.revision).encode()).decode()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The desired or reported properties of a twin, with when and at which version each was last written."""

    value: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: int = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The twin of an identity. What it mirrors of the identity is added when it is shown.

    `configurations` are the automatic deployments that it is a target of: `Applied`, or `Targeted` where others came first.
    """

    revision: int = 1
    version: int = 2
    tags: Mapping[str, Any] | None = dataclasses.field(default_factory=dict)
    desired: Document
    reported: Document
    configurations: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def etag(self) -> str:
        """The base64 of an eight-byte counter, without quotation marks."""
        return base64.b64encode(self.revision.to_bytes(8, "big")).decode()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """An automatic deployment, as a client wrote it."""

    id: str
    revision: int
    created: str
    updated: str
    body: Mapping[str, Any]

    @property
    def etag(self) -> str:
        """The base64 of a decimal counter, without quotation marks."""
        return base64.b64encode(str(self.revision).encode()).decode()
