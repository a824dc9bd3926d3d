"""Carries deployments out: that to one device when it is ordered, automatic ones whenever a target may have changed.

A real hub looks at its targets every few minutes; here it happens at once, before the answer to whoever changed
something. What no target condition holds any more keeps its modules, as on a real hub.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from edgeherd_sim.hub import layers, manifests, views
from edgeherd_sim.hub.errors import HubError
from edgeherd_sim.hub.layers import Automatic
from edgeherd_sim.hub.manifests import Manifest
from edgeherd_sim.hub.model import Key
from edgeherd_sim.hub.store import MODULES_PER_DEVICE, Store

_AGENT = "$edgeAgent"


def deploy(store: Store, device_id: str, manifest: Manifest) -> None:
    """Modules of the last deployment that are not in this one go; those that somebody else made stay.

    Raises:
        HubError: they are too many.
    """
    present = {module.module_id: module for module in store.modules(device_id)}
    gone = [
        name
        for name, module in present.items()
        if name not in manifest.modules and not name.startswith("$") and (module.managed_by or "").lower() == "iotedge"
    ]
    new = sorted({*manifest.modules, *manifest.desired} - set(present))
    if len(present) - len(gone) + len(new) > MODULES_PER_DEVICE:
        raise HubError("TooManyModulesOnDevice", f"A device can have {MODULES_PER_DEVICE} modules.")
    for name in gone:
        store.drop_module(device_id, name)
    for name in new:
        store.add_module(device_id, name)
    for name, desired in manifest.desired.items():
        store.deploy((device_id, name), desired)


class Deployer:
    """Listens to a store, and writes into it what its configurations ask for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, tuple[str, Automatic]] = {}
        self._waiting: deque[Key] = deque()
        self._busy = False
        store.listeners.append(self._note)

    def _note(self, key: Key | None) -> None:
        """What is changed here is noted too; but each twin is looked at once only, so that conditions cannot chase each other."""
        if key is None:
            self._waiting.extend(self._store.identities)
        elif self._store.configurations and key in self._store.identities:
            self._waiting.append(key)
        if self._busy:
            return
        self._busy = True
        try:
            self._look()
        finally:
            self._busy = False

    def _look(self) -> None:
        automatics = self._automatics() if self._waiting else []
        seen: set[Key] = set()
        while self._waiting:
            key = self._waiting.popleft()
            if key in seen or key not in self._store.identities:
                continue
            seen.add(key)
            if key[1]:
                self._settle(key, automatics, layers.MODULE)
            else:
                self._settle(key, automatics, layers.DEVICE)
                self._deploy(key[0], automatics)

    def _automatics(self) -> list[Automatic]:
        kept = self._store.configurations
        self._read = {
            name: known if (known := self._read.get(name)) and known[0] == item.etag else (item.etag, layers.read(item))
            for name, item in kept.items()
        }
        return [automatic for _, automatic in self._read.values()]

    def _fitting(self, key: Key, automatics: list[Automatic], kind: str) -> list[Automatic]:
        of_kind = [each for each in automatics if each.kind == kind]
        if not of_kind:
            return []
        twin = views.twin(*self._store.twin(key))
        return [each for each in of_kind if each.fits(twin)]

    def _settle(self, key: Key, automatics: list[Automatic], kind: str) -> None:
        """The configuration of a device, or of a module that no deployment made."""
        fitting = self._fitting(key, automatics, kind)
        counting = layers.applied(fitting)
        if counting:
            before = self._store.twins[key].desired.value
            after = layers.laid([each.settings[""] for each in counting], before)
            try:
                if after != before:
                    self._store.settle(key, after)
            except HubError:  # more than a twin can hold
                counting = ()
        self._told(key, fitting, counting, kind)

    def _deploy(self, device_id: str, automatics: list[Automatic]) -> None:
        fitting = self._fitting((device_id, ""), automatics, layers.EDGE)
        counting = layers.applied(fitting)
        if counting:
            wanted = layers.merged(counting)
            try:
                self._write(device_id, wanted)
            except HubError:  # too many modules, or more than a twin can hold
                counting = ()
        self._told((device_id, ""), fitting, counting, layers.EDGE)
        if (device_id, _AGENT) in self._store.identities:
            self._told((device_id, _AGENT), fitting, counting, layers.EDGE)

    def _write(self, device_id: str, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        """What is right already is not written again: its version would move."""
        manifest = manifests.of(wanted)
        twins = self._store.twins
        changed = {
            name: desired
            for name, desired in manifest.desired.items()
            if (device_id, name) not in twins or twins[device_id, name].desired.value != desired
        }
        deploy(self._store, device_id, Manifest(modules=manifest.modules, desired=changed))

    def _told(self, key: Key, fitting: list[Automatic], counting: tuple[Automatic, ...], kind: str) -> None:
        """The twin says what it is a target of. What other kinds said stays."""
        kept = {
            name: status
            for name, status in self._store.twins[key].configurations.items()
            if name in self._read and self._read[name][1].kind != kind
        }
        statuses = {each.id: "Applied" if each in counting else "Targeted" for each in fitting}
        self._store.target(key, dict(sorted({**kept, **statuses}.items())))
