"""What was found out about a content, kept in memory up to a number of bytes."""

import asyncio
import collections
import hashlib
import weakref
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

OVERHEAD_BYTES = 2048
"""Of the objects around an entry's own bytes."""

_K = TypeVar("_K")
_T = TypeVar("_T")


class Recent(Generic[_K, _T]):
    """Values by key, up to a number of bytes; what was used longest ago goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._values: collections.OrderedDict[_K, tuple[_T, int]] = collections.OrderedDict()

    def __contains__(self, key: _K) -> bool:
        return key in self._values

    def __getitem__(self, key: _K) -> _T:
        """The value of a key, which is used now."""
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: _K, value: _T, size: int) -> None:
        """Keep a value that takes about so many bytes, in place of the key's last one."""
        self.pop(key)
        size += OVERHEAD_BYTES
        self._values[key] = value, size
        self._left -= size
        while self._left < 0:
            self._left += self._values.popitem(last=False)[1][1]

    def pop(self, key: _K) -> None:
        """Forget a key."""
        if key in self._values:
            self._left += self._values.pop(key)[1]


class Cache(Generic[_T]):
    """What contents were read to: successes only, by a hash of the content, up to so many bytes; the oldest use goes."""

    def __init__(self, most_bytes: int) -> None:
        self._values = Recent[bytes, _T](most_bytes)
        self._locks: weakref.WeakValueDictionary[bytes, asyncio.Lock] = weakref.WeakValueDictionary()

    async def get(self, key: bytes, read: Callable[[], Awaitable[tuple[_T, int]]]) -> _T:
        """The value of a content; where it is not known, `read` gives it and about how many bytes it takes.

        Who asks for the same content meanwhile waits for it. What cannot be read is tried again each time.
        """
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            if key not in self._values:
                value, size = await read()
                self._values.put(key, value, size)
                return value
            return self._values[key]


def digest(*parts: bytes | str | int | None) -> bytes:
    """A hash of parts that tells where one ends and the next begins."""
    whole = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        whole.update(b"%d:" % len(data) + data)
    return whole.digest()
