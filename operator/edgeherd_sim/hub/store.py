"""The registry itself, in memory: identities, twins, their etags and generations. Pure but for clock and randomness."""

import base64
import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgeherd_sim.hub import etags, identities, rules, twindocs
from edgeherd_sim.hub.errors import HubError, invalid
from edgeherd_sim.hub.identities import EDGE_MODULES, Stamp
from edgeherd_sim.hub.model import Configuration, Identity, Key, Twin

MODULES_PER_DEVICE = 50
_EPOCH = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_KEY_BYTES = 32

Listener = Callable[[Key | None], None]
"""Told after every change which identity or twin it was; None for anything else."""


def utc_now() -> dt.datetime:
    """The clock of a hub that is not told otherwise."""
    return dt.datetime.now(dt.UTC)


def mint_key() -> str:
    """A key as the hub makes it: 32 random bytes."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


class Store:
    """Everything that the hub remembers.

    Methods that a request causes take what the request said and raise `HubError`; methods whose names say what happened
    (`rotate`, `recreate`, `touch`, `report`) are for what happens behind the clients' backs.
    """

    def __init__(
        self,
        *,
        now: Callable[[], dt.datetime] = utc_now,
        mint: Callable[[], str] = mint_key,
        idle_after: float = 300,
    ) -> None:
        self.identities: dict[Key, Identity] = {}
        self.twins: dict[Key, Twin] = {}
        self._module_ids: dict[str, set[str]] = {}
        self.configurations: dict[str, Configuration] = {}
        self.revision = secrets.randbelow(900_000_000) + 100_000_000
        self.generation = 0
        self.listeners: list[Listener] = []
        self._now = now
        self._mint = mint
        self._idle_after = dt.timedelta(seconds=idle_after)

    # ---- devices

    def device(self, device_id: str) -> Identity:
        """A device, or DeviceNotFound."""
        return self.get((device_id, ""))

    def devices(self) -> list[Identity]:
        """All devices by their ids."""
        return [self.get(key) for key in sorted(self.identities) if not key[1]]

    def put_device(self, device_id: str, body: Mapping[str, Any], if_match: str | None) -> Identity:
        """Create without If-Match, update with one: never both."""
        rules.device_id(device_id)
        old = self.identities.get((device_id, ""))
        if if_match is None:
            if old is not None:
                raise HubError("DeviceAlreadyExists", f"A device with ID '{device_id}' is already registered.")
            new = identities.created(device_id, body, self._stamp())
        else:
            if old is None:
                raise HubError("DeviceNotFound", device_id)
            etags.check(if_match, old.etag)
            new = identities.updated(old, body, self._stamp())
        self._write(new)
        self._follow_edge(new)
        return new

    def delete_device(self, device_id: str, if_match: str | None) -> None:
        """Delete a device with its twin and modules. If-Match is demanded."""
        etags.demand(if_match, self.device(device_id).etag)
        self.remove(device_id)

    # ---- modules

    def module(self, device_id: str, module_id: str) -> Identity:
        """A module, or ModuleNotFound."""
        identity = self.identities.get((device_id, module_id)) if module_id else None
        if identity is None:
            raise HubError("ModuleNotFound", f"Module {module_id} of device {device_id} is not registered.")
        return self.get(identity.key)

    def modules(self, device_id: str) -> list[Identity]:
        """The modules of a device by their ids."""
        return [self.get(key) for key in sorted(self._below(device_id)) if key[1]]

    def put_module(self, device_id: str, module_id: str, body: Mapping[str, Any], if_match: str | None) -> Identity:
        """Create without If-Match, update with one."""
        key = (device_id, rules.module_id(module_id))
        old = self.identities.get(key)
        if if_match is not None:
            etags.check(if_match, self.module(*key).etag)
        elif old is not None:
            raise HubError(
                "ModuleAlreadyExistsOnDevice", f"A module with ID '{module_id}' is already registered on '{device_id}'."
            )
        elif module_id.startswith("$"):
            raise invalid("The module identifier is invalid: names with a leading $ belong to the hub.")
        elif len(self.modules(device_id)) >= MODULES_PER_DEVICE:
            raise HubError("TooManyModulesOnDevice", f"A device can have {MODULES_PER_DEVICE} modules.")
        new = identities.module(key, body, self._stamp(), old)
        self._write(new)
        return new

    def delete_module(self, device_id: str, module_id: str, if_match: str | None) -> None:
        """Delete a module with its twin. If-Match is demanded."""
        etags.demand(if_match, self.module(device_id, module_id).etag)
        self._drop((device_id, module_id))

    # ---- twins

    def twin(self, key: Key) -> tuple[Identity, Twin]:
        """A twin with the identity that it mirrors. A missing module's twin is a missing device to the hub."""
        identity = self.get(key)
        return identity, self.twins[key]

    def patch_twin(self, key: Key, body: Mapping[str, Any], if_match: str | None) -> None:
        """Merge tags and desired properties."""
        self._change_twin(key, if_match, lambda twin: twindocs.patched(twin, body, self._at(), self._next()))

    def replace_twin(self, key: Key, body: Mapping[str, Any], if_match: str | None) -> None:
        """Replace tags and desired properties."""
        self._change_twin(key, if_match, lambda twin: twindocs.replaced(twin, body, self._at(), self._next()))

    def deploy(self, key: Key, desired: Mapping[str, Any]) -> None:
        """Replace the desired properties by those of a deployment; tags stay."""
        self._change_twin(key, None, lambda twin: twindocs.deployed(twin, desired, self._at(), self._next()))

    def settle(self, key: Key, desired: Mapping[str, Any]) -> None:
        """Change the desired properties to those of an automatic configuration."""
        self._change_twin(key, None, lambda twin: twindocs.settled(twin, desired, self._at(), self._next()))

    def target(self, key: Key, configurations: Mapping[str, str]) -> None:
        """The twin is a target of these automatic deployments: its etag does not move."""
        if self.twins[key].configurations != configurations:
            self.twins[key] = dataclasses.replace(self.twins[key], configurations=configurations)
            self._tell(key)

    def _change_twin(self, key: Key, if_match: str | None, change: Callable[[Twin], Twin]) -> None:
        _, twin = self.twin(key)
        etags.check(if_match, twin.etag)
        self.twins[key] = change(twin)
        self._tell(key)

    # ---- configurations

    def configuration(self, configuration_id: str) -> Configuration:
        """A configuration, or ConfigurationNotFound."""
        if configuration_id not in self.configurations:
            raise HubError("ConfigurationNotFound", configuration_id)
        return self.configurations[configuration_id]

    def keep_configuration(self, configuration: Configuration) -> None:
        """A configuration is new or other than it was."""
        self.configurations[configuration.id] = configuration
        self._tell(None)

    def drop_configuration(self, configuration_id: str) -> None:
        """A configuration is gone."""
        del self.configurations[configuration_id]
        self._tell(None)

    # ---- what happens without a request

    def get(self, key: Key) -> Identity:
        """An identity as it is now: one that was silent for long is not connected any more."""
        identity = self.identities.get(key)
        if identity is None:
            raise HubError("DeviceNotFound", key[0])
        if identity.connected and self._now() - _time(identity.last_activity) > self._idle_after:
            identity = dataclasses.replace(identity, connected=False, connection_updated=self._at())
            self.identities[key] = identity
            self._tell(key)
        return identity

    def touch(self, key: Key, *, connected: bool = True) -> Identity:
        """The device or module showed itself (or hung up): its etag does not move."""
        old, at = self.get(key), self._at()
        new = dataclasses.replace(
            old,
            connected=connected,
            connection_updated=at if connected != old.connected else old.connection_updated,
            last_activity=at if connected else old.last_activity,
        )
        self.identities[key] = new
        self._tell(key)
        return new

    def report(self, key: Key, patch: Mapping[str, Any]) -> None:
        """The device or module reported properties."""
        _, twin = self.twin(key)
        self.twins[key] = twindocs.reported(twin, patch, self._at())
        self._tell(key)

    def rotate(self, key: Key, which: str = "both") -> Identity:
        """New keys: `primaryKey`, `secondaryKey` or `both`."""
        old = self.get(key)
        if which not in {"primaryKey", "secondaryKey", "both"}:
            raise invalid("The policy key must be primaryKey, secondaryKey or both.")
        if not old.authentication.keys:
            raise HubError("InvalidOperation", "The identity does not authenticate by symmetric keys.")
        new = old.authentication
        if which in {"primaryKey", "both"}:
            new = dataclasses.replace(new, primary_key=self._mint())
        if which in {"secondaryKey", "both"}:
            new = dataclasses.replace(new, secondary_key=self._mint())
        return self._write(dataclasses.replace(old, authentication=new, revision=self._next()))

    def set_status(self, device_id: str, status: str, reason: str | None = None) -> Identity:
        """Somebody enabled or disabled a device."""
        old = self.device(device_id)
        at = self._at() if status != old.status else old.status_updated
        new = dataclasses.replace(old, status=status, status_reason=reason, status_updated=at, revision=self._next())
        return self._write(new)

    def recreate(self, device_id: str) -> Identity:
        """Somebody deleted a device and made one of the same name: other keys, other generation."""
        old = self.device(device_id)
        self.remove(device_id)
        return self.put_device(device_id, {"status": old.status, "capabilities": {"iotEdge": old.edge}}, None)

    def remove(self, device_id: str) -> None:
        """A device is gone, with its twin and modules."""
        for key in list(self._below(device_id)):
            self._drop(key)

    # ---- the books

    def counts(self) -> dict[str, int]:
        """Devices: total, enabled, disabled, connected."""
        devices = self.devices()
        enabled = sum(device.status == "enabled" for device in devices)
        connected = sum(device.connected for device in devices)
        return {"total": len(devices), "enabled": enabled, "disabled": len(devices) - enabled, "connected": connected}

    def add_module(self, device_id: str, module_id: str) -> Identity:
        """A module that the hub makes by itself, for an edge device or its deployment."""
        return self._write(identities.edge_module(device_id, module_id, self._stamp()))

    def drop_module(self, device_id: str, module_id: str) -> None:
        """A module is gone without a request."""
        self._drop((device_id, module_id))

    def adopt(self, identity: Identity) -> None:
        """An identity as it was remembered, or as it now is."""
        self.identities[identity.key] = identity
        self._module_ids.setdefault(identity.device_id, set()).add(identity.module_id)

    def next_revision(self) -> int:
        """A number that was never given out: what etags are made of."""
        return self._next()

    def at(self) -> str:
        """The hub's time, as it writes it."""
        return self._at()

    def _follow_edge(self, device: Identity) -> None:
        for name in EDGE_MODULES:
            present = (device.device_id, name) in self.identities
            if device.edge and not present:
                self.add_module(device.device_id, name)
            elif present and not device.edge:
                self._drop((device.device_id, name))

    def _below(self, device_id: str) -> Iterator[Key]:
        return ((device_id, module_id) for module_id in self._module_ids.get(device_id, ()))

    def _write(self, identity: Identity) -> Identity:
        self.adopt(identity)
        self.twins.setdefault(identity.key, twindocs.fresh(self._at()))
        self._tell(identity.key)
        return identity

    def _drop(self, key: Key) -> None:
        del self.identities[key]
        del self.twins[key]
        members = self._module_ids[key[0]]
        members.discard(key[1])
        if not members:
            del self._module_ids[key[0]]
        self._tell(key)

    def _tell(self, key: Key | None) -> None:
        for listener in self.listeners:
            listener(key)

    def _next(self) -> int:
        self.revision += 1
        return self.revision

    def _stamp(self) -> Stamp:
        ticks = (self._now() - _EPOCH) // dt.timedelta(microseconds=1) * 10
        self.generation = max(self.generation + 1, ticks)
        return Stamp(revision=self._next(), generation_id=str(self.generation), at=self._at(), mint=self._mint)

    def _at(self) -> str:
        """With seven digits, as .NET writes it: its clock counts in 100 ns."""
        return self._now().astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=dt.UTC)
