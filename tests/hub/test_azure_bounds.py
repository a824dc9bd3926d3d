"""A hub that means harm: every call ends, takes no more memory than it may, and holds up no other hub.

The answers are just above our own bounds.
"""

import asyncio
import gzip
import pathlib
import zlib

import pytest
from hub_lab import KEYS, Lab, outcome, raw_server

from edgeherd.hub.azure import ANSWER_BYTES, FAILURES, PAGE_BYTES, THREADS, AzureHub
from edgeherd.hub.budget import RESERVED
from edgeherd.hub.port import BusyError, UnavailableError
from edgeherd.hub.transport import HEADERS
from edgeherd_sim.hub import tls
from edgeherd_sim.hub.tls import Tls

TIMEOUT = (UnavailableError, "Timeout")
TOO_LARGE = (UnavailableError, "AnswerTooLarge")
NO_ANSWER = (UnavailableError, "AnswerInvalid")
BROKEN = (UnavailableError, "ConnectionError")


@pytest.fixture
def certificate(tmp_path: pathlib.Path) -> Tls:
    """That of the hub that means harm."""
    return tls.prepare(tmp_path, ("localhost",))


def answer(body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An answer with 200. Its body is JSON, an empty list say, with blanks behind it."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", *headers, f"Content-Length: {length or len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    """The same in chunks. What has a colon is no chunk but the beginning of one."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


MOST = b"[]".ljust(ANSWER_BYTES)
MORE = b"[]".ljust(ANSWER_BYTES + 1)
LAST = b"0\r\n\r\n"


def gzip_of(data: bytes) -> bytes:
    """Compressed, the same each time."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(answer(MOST), None, id="as much as it may"),
        pytest.param(answer(MORE), TOO_LARGE, id="a byte more"),
        pytest.param(chunked(*[MOST[at : at + 4096] for at in range(0, len(MOST), 4096)]) + LAST, None, id="in chunks"),
        pytest.param(chunked(MOST, b" ") + LAST, TOO_LARGE, id="a byte more, in chunks"),
        pytest.param(chunked() + b"1;" + b"x" * (ANSWER_BYTES + 2 * HEADERS), BROKEN, id="a chunk's size that is long"),
        pytest.param(
            chunked() + b"0\r\n" + b"X: x\r\n" * ((ANSWER_BYTES + 2 * HEADERS) // 6),
            TOO_LARGE,
            id="trailers without end",
        ),
        pytest.param(answer(gzip_of(MOST), "Content-Encoding: gzip"), None, id="gzip, as much as it may"),
        pytest.param(answer(gzip_of(MORE), "Content-Encoding: gzip"), TOO_LARGE, id="gzip, a byte more"),
        pytest.param(answer(zlib.compress(MOST), "Content-Encoding: deflate"), None, id="deflate, as much as it may"),
        pytest.param(answer(zlib.compress(MORE), "Content-Encoding: deflate"), TOO_LARGE, id="deflate, a byte more"),
        pytest.param(answer(gzip_of(MOST)[:-1], "Content-Encoding: gzip"), BROKEN, id="gzip that is cut off"),
        pytest.param(answer(b"[]", "Content-Encoding: gzip"), BROKEN, id="gzip that is none"),
        pytest.param(
            answer(gzip_of(gzip_of(MORE)), "Content-Encoding: gzip, gzip"), BROKEN, id="gzip in gzip is not asked for"
        ),
        pytest.param(answer(b"[]", "Content-Encoding: br"), BROKEN, id="neither is brotli"),
        pytest.param(answer(b"[]", length=3), BROKEN, id="stops in the middle of the body"),
        pytest.param(chunked(b"[]"), BROKEN, id="stops before the last chunk"),
        pytest.param(answer(b"")[:40], NO_ANSWER, id="stops in the middle of the headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * (HEADERS // 6), BROKEN, id="headers without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEADERS, TOO_LARGE, id="a header without end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * (HEADERS // 25 + 1), TOO_LARGE, id="100 again and again"),
        pytest.param(answer(b"[" * ANSWER_BYTES), NO_ANSWER, id="lists in lists in lists"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<a/>",
            BROKEN,
            id="XML is not parsed",
        ),
    ],
)
async def test_what_a_call_takes_in(lab: Lab, certificate: Tls, text: bytes, expected: object) -> None:
    """A mebibyte of JSON and 64 KiB of headers, compressed or not. The rest is an unknown outcome."""
    async with raw_server(certificate.context, text, cut=True) as server:
        adapter = lab.open(port=server.port, ca_file=str(certificate.ca_file))
        assert await outcome(adapter.probe()) == expected
    assert server.requests == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(answer(gzip_of(b"[]".ljust(PAGE_BYTES)), "Content-Encoding: gzip"), (), id="a page of a query"),
        pytest.param(
            answer(gzip_of(b"[]".ljust(PAGE_BYTES + 1)), "Content-Encoding: gzip"), TOO_LARGE, id="a byte more"
        ),
    ],
)
async def test_what_a_query_takes_in(lab: Lab, certificate: Tls, text: bytes, expected: object) -> None:
    """A page has a hundred twins: it may be larger."""
    async with raw_server(certificate.context, text) as server:
        adapter = lab.open(port=server.port, ca_file=str(certificate.ca_file))
        assert await outcome(adapter.edge_devices()) == expected


DRIPS = pytest.mark.parametrize(
    ("text", "drip"),
    [
        pytest.param(answer(b"", length=1000), b" ", id="a body that drips"),
        pytest.param(chunked(), b"1\r\n \r\n", id="chunks that drip"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n", id="headers that drip"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX:", b"x", id="a header that drips"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="100 again and again"),
    ],
)


@DRIPS
async def test_a_hub_that_drips(lab: Lab, certificate: Tls, text: bytes, drip: bytes) -> None:
    """The call has one deadline, however often something comes; the thread hangs up by itself."""
    async with raw_server(certificate.context, text, drip=drip) as server, asyncio.timeout(60):
        adapter = lab.open(port=server.port, ca_file=str(certificate.ca_file), seconds=0.5)
        assert await outcome(adapter.get("press-01")) == TIMEOUT
        await server.until(lambda server: server.closed == 1)
    assert server.requests <= 1  # half a second may be too short for one


@DRIPS
async def test_a_call_that_nobody_waits_for(lab: Lab, certificate: Tls, text: bytes, drip: bytes) -> None:
    """The thread hangs up, though there would be time left."""
    async with raw_server(certificate.context, text, drip=drip) as server, asyncio.timeout(60):
        adapter = lab.open(port=server.port, ca_file=str(certificate.ca_file))
        call = asyncio.create_task(adapter.create("press-01", KEYS, enabled=True))
        await server.until(lambda server: server.requests == 1)
        call.cancel()
        await server.until(lambda server: server.closed == 1)
    assert (server.requests, call.cancelled()) == (1, True)


async def test_a_hub_that_does_not_shake_hands(lab: Lab) -> None:
    """A connection alone is none."""
    async with raw_server(None, b"") as server, asyncio.timeout(60):
        assert await outcome(lab.open(port=server.port, seconds=0.5).get("press-01")) == TIMEOUT
        await server.until(lambda server: server.closed == 1)


async def test_a_hub_that_hangs_holds_up_no_other(lab: Lab, adapter: AzureHub, certificate: Tls) -> None:
    """It keeps its own few threads, and no more callers of a namespace than may wait for one hub."""
    async with raw_server(certificate.context, b"") as server, asyncio.timeout(60):
        hanging = lab.open(port=server.port, ca_file=str(certificate.ca_file))
        calls = [asyncio.create_task(outcome(hanging.get(f"press-{n}"))) for n in range(RESERVED + 10)]
        await server.until(lambda server: server.requests == THREADS)
        assert [await adapter.get(f"press-{n}") for n in range(10)] == [None] * 10
        assert await adapter.twin("press-01") is None
        done = [call.result() for call in calls if call.done()]
        assert (done, server.requests) == ([(BusyError, "BudgetSpent")] * 10, THREADS)
        for call in calls:
            call.cancel()


async def test_a_hub_that_hangs_is_found_out_once(lab: Lab, certificate: Tls) -> None:
    """Who waited behind those that hang is not sent to hang too, and nothing is sent late."""
    async with raw_server(certificate.context, b"") as server, asyncio.timeout(60):
        hanging = lab.open(port=server.port, ca_file=str(certificate.ca_file), seconds=2)
        ended = await asyncio.gather(*(outcome(hanging.get(f"press-{n}")) for n in range(RESERVED)))
        assert ended == [TIMEOUT] * RESERVED
        assert await outcome(hanging.twin("press-01")) == TIMEOUT
        await server.until(lambda server: server.closed >= server.requests)
    assert server.requests < THREADS + FAILURES


async def test_a_client_that_is_closed(lab: Lab, certificate: Tls) -> None:
    """What waits ends at once, and so does who comes later: an unknown outcome, not a cancelled pass."""
    closed = (UnavailableError, "Closed")
    async with raw_server(certificate.context, b"") as server, asyncio.timeout(60):
        adapter = lab.open(port=server.port, ca_file=str(certificate.ca_file))
        probes = [asyncio.create_task(outcome(adapter.probe())) for _ in range(THREADS + 2)]
        await server.until(lambda server: server.requests == THREADS)
        lab.close()
        assert [await probes[-2], await probes[-1], await outcome(adapter.get("press-01"))] == [closed] * 3
        assert not any(probe.done() for probe in probes[:THREADS])
        for probe in probes:
            probe.cancel()
