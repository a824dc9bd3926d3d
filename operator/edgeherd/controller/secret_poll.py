"""Notices that somebody deleted or edited a connection Secret, and has its EdgeDevice looked at.

Only names and versions of Secrets are asked for, never their content. Where the operator may list Secrets one list does it;
else each is asked for by its name, in turn.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from edgeherd.cluster.errors import ApiError, ForbiddenError
from edgeherd.cluster.port import Cluster
from edgeherd.fence import NotLeadingError
from edgeherd.model import Key
from edgeherd.reconcile.secret_versions import SecretVersions

_log = logging.getLogger(__name__)

LIST_SECONDS = 30.0
"""Between two lists."""

ROUND_SECONDS = 50.0
"""How long a round of single looks takes: each Secret is looked at within a minute, but for very many."""

MOST_PER_SECOND = 20.0
"""Single looks: a thousand Secrets in a round; more of them take longer."""

RIGHTS_SECONDS = 600.0
"""How often it is asked whether Secrets may be listed."""


class Index(Protocol):
    """Who has a connection Secret, as the watch saw it."""

    def with_secret(self) -> tuple[tuple[Key, str], ...]:
        """The EdgeDevices that are looked after and have one, with its name."""


class SecretPoll:
    """Compares the Secrets that are there with those that passes left."""

    def __init__(
        self,
        cluster: Cluster,
        index: Index,
        versions: SecretVersions,
        *,
        on_change: Callable[[Key], None],
        namespaces: tuple[str, ...] = ("",),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`namespaces` are those that are looked after, '' for all. `on_change` hears of each change once."""
        self._cluster = cluster
        self._index = index
        self._versions = versions
        self._on_change = on_change
        self._namespaces = namespaces
        self._sleep = sleep
        self._told: dict[Key, tuple[str | None, str]] = {}
        self._may_list = False
        self._rights_due = 0.0

    async def run(self) -> None:
        """Look for as long as this process leads."""
        while True:
            try:
                await self.look()
            except NotLeadingError:
                return
            except ApiError as exc:
                _log.debug("connection Secrets could not be looked at: %s", exc)
            except Exception:  # noqa: BLE001 - a bug here must not end it for good
                _log.exception("a bug ended a look at connection Secrets; it is tried again")
            else:
                continue
            await self._sleep(LIST_SECONDS)

    async def look(self) -> None:
        """One round, and the pause after it.

        Raises:
            ApiError: the API server refuses, or does not answer.
        """
        if self._rights_due <= 0:
            self._may_list = await self._cluster.may_list_secrets(self._namespaces)
            self._rights_due = RIGHTS_SECONDS
        expected = self._index.with_secret()
        self._told = {key: self._told[key] for key, _ in expected if key in self._told}
        if expected and not self._may_list:
            await self._look_at_each(expected)
            return
        try:
            if expected:
                await self._look_at_all(expected)
        except ForbiddenError:
            self._may_list = False
        await self._pause(LIST_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load; no secret

    async def _pause(self, seconds: float) -> None:
        self._rights_due -= seconds
        await self._sleep(seconds)

    async def _look_at_all(self, expected: tuple[tuple[Key, str], ...]) -> None:
        known = {key: self._versions.of(key) for key, _ in expected}
        found = await self._cluster.secret_versions(self._namespaces)
        for key, name in expected:
            self._compare(key, known[key], found.get((key.namespace, name), ""))

    async def _look_at_each(self, expected: tuple[tuple[Key, str], ...]) -> None:
        pause = max(ROUND_SECONDS / len(expected), 1 / MOST_PER_SECOND)
        for key, name in expected:
            known = self._versions.of(key)
            # A namespace that is deleted loses its RoleBinding: its EdgeDevices must not keep the others from being looked at.
            with contextlib.suppress(ForbiddenError):
                self._compare(key, known, await self._cluster.secret_version(key.namespace, name))
            await self._pause(pause)

    def _compare(self, key: Key, known: str | None, found: str) -> None:
        """What was known before the look, and what the look found: '' for no Secret."""
        if self._versions.of(key) != known:
            return  # a pass came between
        if known is None and found:
            self._versions.saw(key, found)
        elif found != known and self._told.get(key) != (known, found):
            self._told[key] = known, found
            self._on_change(key)
