"""The state file: everything that the hub remembers, written before a change is acknowledged."""

import asyncio
import dataclasses
import json
import pathlib
from typing import Any

from edgeherd_sim.hub import tls
from edgeherd_sim.hub.model import Authentication, Configuration, Document, Identity, Twin
from edgeherd_sim.hub.store import Store, mint_key

_FORMAT = 2


class StateError(Exception):
    """The state file cannot be used; the text says why."""


class Saver:
    """Loads the store at the start and writes it after changes; does nothing without a file.

    Requests that end while a write is under way share the next one.
    """

    def __init__(self, store: Store, path: pathlib.Path | None, policy_key: str | None) -> None:
        self._store = store
        self._path = path
        self._lock = asyncio.Lock()
        self._changed = 1
        self._written = 0
        remembered = _load(store, path) if path is not None and path.exists() else None
        self.policy_key = policy_key or remembered or mint_key()
        store.listeners.append(self._note)

    async def save(self) -> None:
        """Return when everything that has changed so far is on disk."""
        wanted = self._changed
        if self._path is None or self._written >= wanted:
            return
        async with self._lock:
            if self._written >= wanted:
                return
            changed, content = self._changed, json.dumps(_dumped(self._store, self.policy_key)).encode()
            await asyncio.to_thread(tls.write, self._path, content, secret=True)
            self._written = changed

    def _note(self, _: object) -> None:
        self._changed += 1


def _dumped(store: Store, policy_key: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "policyKey": policy_key,
        "revision": store.revision,
        "generation": store.generation,
        "identities": [dataclasses.asdict(identity) for identity in store.identities.values()],
        "twins": [[*key, dataclasses.asdict(twin)] for key, twin in store.twins.items()],
        "configurations": [dataclasses.asdict(item) for item in store.configurations.values()],
    }


def _load(store: Store, path: pathlib.Path) -> str:
    """Fill the store from the file; returns the policy key."""
    try:
        state = json.loads(path.read_bytes())
        if state["format"] != _FORMAT:
            message = f"{path}: written by another version of this program; delete it or use another file."
            raise StateError(message)
        store.revision, store.generation = state["revision"], state["generation"]
        for fields in state["identities"]:
            store.adopt(_identity(fields))
        for device_id, module_id, fields in state["twins"]:
            store.twins[device_id, module_id] = _twin(fields)
        for fields in state["configurations"]:
            store.configurations[fields["id"]] = Configuration(**fields)
        return str(state["policyKey"])
    except (ValueError, KeyError, TypeError) as exc:
        message = f"{path}: not a state file of this hub ({type(exc).__name__}); delete it or use another file."
        raise StateError(message) from None


def _identity(fields: dict[str, Any]) -> Identity:
    return Identity(
        **{
            **fields,
            "authentication": Authentication(**fields["authentication"]),
            "parent_scopes": tuple(fields["parent_scopes"]),
        }
    )


def _twin(fields: dict[str, Any]) -> Twin:
    return Twin(**{**fields, "desired": Document(**fields["desired"]), "reported": Document(**fields["reported"])})
