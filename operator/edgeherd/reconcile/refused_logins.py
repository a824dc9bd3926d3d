"""Which logins were refused a short while ago, in memory.

OpenSSH 9.8 and later shut out the address of whoever fails to log in several times (`PerSourcePenalties`, sshd_config(5): five
seconds for each failure, and from 15 on every connection of that address is closed, for ten minutes at most). A Secret that is
wrong for a whole plant behind one jump host would lock out the operator, and with it those whose Secret is right.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator

from edgeherd.cache import digest
from edgeherd.clock import Clock
from edgeherd.device.port import JumpHostError, Login, LoginRefusedError, TurnedAwayError

HELD_SECONDS = 59.0
"""After a refusal a jump host is asked again with the same login: below the minute after which each device is looked at again."""

SHUT_OUT_SECONDS = 600.0
"""How long OpenSSH may turn away who was refused: the default of `max`."""

MOST = 4096
"""So many are known; the oldest is forgotten."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Refusal:
    at: float
    why: str


class RefusedLogins:
    """Remembers them by a hash of host, user and credentials: another Secret is another login."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: collections.OrderedDict[bytes, _Refusal] = collections.OrderedDict()

    @contextlib.contextmanager
    def attempt(self, login: Login) -> Iterator[None]:
        """In it the connection is opened.

        Raises:
            JumpHostError: of a LoginRefusedError, because the jump host refused this login a moment ago.
            LoginRefusedError: the host refused this login, and turns away everybody since then.
        """
        if login.jump is not None and (why := self._why(login.jump, HELD_SECONDS)):
            raise JumpHostError(LoginRefusedError(why))
        try:
            yield
        except JumpHostError as exc:
            if login.jump is not None and (refused := self._learn(login.jump, exc.error)):
                raise JumpHostError(refused) from None
            raise
        except (LoginRefusedError, TurnedAwayError) as exc:
            if refused := self._learn(login, exc):
                raise refused from None
            raise
        self._known.pop(_key(login), None)
        if login.jump is not None:
            self._known.pop(_key(login.jump), None)

    def _learn(self, login: Login, error: Exception) -> LoginRefusedError | None:
        """The refusal that stands behind an error, where it is another one."""
        if isinstance(error, LoginRefusedError):
            self._known[_key(login)] = _Refusal(self._clock.monotonic(), str(error))
            self._known.move_to_end(_key(login))
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        elif isinstance(error, TurnedAwayError) and (why := self._why(login, SHUT_OUT_SECONDS)):
            return LoginRefusedError(why)
        return None

    def _why(self, login: Login, within: float) -> str:
        known = self._known.get(_key(login))
        return known.why if known is not None and self._clock.monotonic() - known.at < within else ""


def _key(login: Login) -> bytes:
    return digest(
        login.host, login.port, login.user, login.private_key, login.passphrase, login.certificate, login.password
    )
