"""One call to a hub, bounded: so long, so many bytes, in one of so many threads.

The SDK speaks HTTP with requests, whose time-out is one per read: a hub that sends a byte now and then keeps a thread for
ever, and an answer is read whole, however large. Here a call has one deadline for everything that it waits for, and a
bound for what it receives. Both are checked where the bytes come in, so headers that never end, chunk sizes of a
megabyte and compressed answers are no way around them.
"""

import concurrent.futures
import contextvars
import io
import queue
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions
import urllib3.util

_T = TypeVar("_T")

HEADERS = 64 * 1024
"""Bytes of an answer beside its body: headers, and the framing of chunks. A hub's headers have about 500."""

_PIECE = 16 * 1024


class ClosedError(Exception):
    """The hub's threads were ended."""


class Call:
    """The bounds of one call, and which of them ended it."""

    def __init__(self, *, seconds: float, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_bytes = most_bytes
        self.ended_by = ""
        self.status = 0
        """The HTTP status of the answer; 0 before there is one."""
        self._left = HEADERS
        self._until = clock() + seconds
        self._clock = clock

    def run(self, function: Callable[[], _T]) -> _T:
        """Call that function in this thread, whose connections keep to the bounds meanwhile."""
        token = _current.set(self)
        try:
            return function()
        finally:
            _current.reset(token)

    def abandon(self) -> None:
        """Nobody waits for the answer any more: nothing is sent from now on, and the next byte is the last."""
        self._until = 0.0

    def seconds_left(self) -> float:
        """How long the next step may take.

        Raises:
            TimeoutError: there is no time left.
        """
        left = self._until - self._clock()
        if left <= 0:
            self.ended_by = "Timeout"
            raise TimeoutError("the call has taken its time")
        return left

    def received(self, count: int) -> None:
        """Count what came in.

        Raises:
            OSError: it is too much.
        """
        self._left -= count
        if self._left < 0:
            raise self.too_large()

    def body_follows(self) -> None:
        """The headers are through."""
        self._left += self.most_bytes

    def too_large(self) -> OSError:
        """The error for an answer beyond the bound."""
        self.ended_by = "AnswerTooLarge"
        return OSError("the answer is too large")


_current: contextvars.ContextVar[Call] = contextvars.ContextVar("call")


class _Socket(ssl.SSLSocket):
    """A TLS socket that knows the call it works for. OpenSSL's own time-out is one for each of these, not per packet."""

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_current.get().seconds_left())
        super().do_handshake(block)

    def send(self, data: Any, flags: int = 0) -> int:
        self.settimeout(_current.get().seconds_left())
        return super().send(data, flags)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - the name of the overridden one
        call = _current.get()
        self.settimeout(call.seconds_left())
        got = super().read(len, buffer)
        call.received(got if isinstance(got, int) else got.__len__())
        return got


class _Options(list[Any]):
    """Socket options, which urllib3 reads for each address of a host: there may be many, each with its own time-out."""

    def __iter__(self) -> Iterator[Any]:
        _current.get().seconds_left()
        return super().__iter__()


class _Connection(urllib3.connection.HTTPSConnection):
    def connect(self) -> None:
        # A context for each connection, as urllib3 does without one: it is changed while connecting, which no other
        # thread may see.
        self.ssl_context = urllib3.util.create_urllib3_context()
        self.ssl_context.sslsocket_class = _Socket
        self.socket_options = _Options(self.socket_options or ())
        super().connect()


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


class Transport(requests.adapters.HTTPAdapter):
    """The connections to one hub, which its threads share. Nothing is tried twice.

    Works inside of `Call.run` only.
    """

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """See `HTTPAdapter`."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": _Pool}
        return manager

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """See `HTTPAdapter`. The body is read here, where it can be bounded.

        Raises:
            ConnectionError: the answer is too large, too late, broken off or no JSON.
        """
        call = _current.get()
        call.status = resp.status
        call.body_follows()
        try:
            if "xml" in resp.headers.get("Content-Type", "").lower():  # the SDK would parse it, entities and all
                raise urllib3.exceptions.DecodeError("a hub speaks JSON")
            body = _body(resp, call)
        except (urllib3.exceptions.HTTPError, zlib.error, OSError) as exc:
            resp.close()
            raise requests.ConnectionError(exc, request=req) from None
        response = super().build_response(req, resp)
        response.raw = io.BytesIO(body)
        return response


def _body(response: urllib3.HTTPResponse, call: Call) -> bytes:
    """The body, decoded. The bound is for what comes out."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    pieces = response.stream(_PIECE, decode_content=False)
    if encoding == "identity":
        body = b"".join(pieces)
        if len(body) > call.most_bytes:
            raise call.too_large()
        return body
    if encoding not in {"gzip", "deflate"}:
        raise urllib3.exceptions.DecodeError("an encoding that was not asked for")
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header
    decoded = bytearray()
    for piece in pieces:
        decoded += decoder.decompress(piece, call.most_bytes - len(decoded) + 1)
        if len(decoded) > call.most_bytes:
            raise call.too_large()
    if not decoder.eof:
        raise urllib3.exceptions.DecodeError("broken off")
    return bytes(decoded)


class Threads(concurrent.futures.Executor):
    """A few threads, each started when it is needed.

    The interpreter waits for those of a ThreadPoolExecutor when it ends; for these it does not. A thread that asks a
    name server, or for a token, cannot be ended.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[concurrent.futures.Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._started = 0
        self._free = 0  # threads without work, less the work that waits for one
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """See `Executor`.

        Raises:
            ClosedError: after `shutdown`.
        """
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            if self._closed:
                raise ClosedError
            self._work.put((future, lambda: fn(*args, **kwargs)))
            self._free -= 1
            if self._free < 0 and self._started < self._most:
                self._started += 1
                self._free += 1
                threading.Thread(target=self._serve, name="hub", daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """End the threads when they have done what they are at. What waits ends with ClosedError; nobody is waited for."""
        del wait, cancel_futures
        with self._lock:
            self._closed = True
            while not self._work.empty():
                waiting = self._work.get()
                if waiting is not None and waiting[0].set_running_or_notify_cancel():
                    waiting[0].set_exception(ClosedError())
            for _ in range(self._started):
                self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            future, function = work
            deliver = _done(function) if future.set_running_or_notify_cancel() else None
            with self._lock:
                self._free += 1  # before the news: whoever gets it may come back at once
            if deliver is not None:
                deliver(future)
            del work, future, function, deliver  # what it came to is not this thread's to keep


def _done(function: Callable[[], Any]) -> Callable[[concurrent.futures.Future[Any]], None]:
    """Do it, and return how to tell."""
    try:
        result = function()
    except BaseException as exc:  # noqa: BLE001 - whoever waits for the future gets it
        error = exc
        return lambda future: future.set_exception(error)
    return lambda future: future.set_result(result)
