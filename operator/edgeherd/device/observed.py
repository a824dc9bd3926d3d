"""Sessions that are watched from outside: how long each stage takes, and how often a daemon is restarted."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from edgeherd.device.facts import Facts
from edgeherd.device.port import Action, Change, Initialization, Login, Query, Result, Session


class Observer(Protocol):
    """Hears what is done on devices. Its calls return at once and raise nothing."""

    def ssh(self, stage: str, seconds: float, *, succeeded: bool) -> None:
        """A stage is over: 'connect', 'look', 'apply', 'check'."""

    def restarted(self) -> None:
        """A daemon was restarted."""


class ObservedSession:
    """Implements `port.Session` around another one."""

    def __init__(self, session: Session, observer: Observer) -> None:
        self._session = session
        self._observer = observer
        self.fingerprint = session.fingerprint
        self.jump_fingerprint = session.jump_fingerprint

    async def observe(self, query: Query) -> Facts:
        """See `port.Session`."""
        with _timed(self._observer, "look"):
            return await self._session.observe(query)

    async def apply(self, change: Change) -> Result:
        """See `port.Session`."""
        with _timed(self._observer, "apply"):
            result = await self._session.apply(change)
        # A refusal shows only after a restart; with the old file there is another one.
        if change.action is not Action.NONE and result in {Result.APPLIED, Result.REFUSED}:
            self._observer.restarted()
        return result

    async def check(self) -> str:
        """See `port.Session`."""
        with _timed(self._observer, "check"):
            return await self._session.check()

    async def initialize(self, initialization: Initialization) -> Result:
        """See `port.Session`."""
        with _timed(self._observer, "apply"):
            result = await self._session.initialize(initialization)
        if result is Result.APPLIED:
            self._observer.restarted()
        return result


def observed(
    connect: Callable[[Login], AbstractAsyncContextManager[Session]], observer: Observer
) -> Callable[[Login], AbstractAsyncContextManager[Session]]:
    """Connections as `connect` makes them, watched by the observer."""

    @contextlib.asynccontextmanager
    async def connected(login: Login) -> AsyncIterator[Session]:
        async with contextlib.AsyncExitStack() as stack:
            with _timed(observer, "connect"):
                session = await stack.enter_async_context(connect(login))
            yield ObservedSession(session, observer)

    return connected


@contextlib.contextmanager
def _timed(observer: Observer, stage: str) -> Iterator[None]:
    began, succeeded = time.monotonic(), False
    try:
        yield
        succeeded = True
    finally:
        observer.ssh(stage, time.monotonic() - began, succeeded=succeeded)


_PORT: type[Session] = ObservedSession
"""mypy sees that all of the port is here."""
