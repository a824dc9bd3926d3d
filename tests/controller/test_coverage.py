"""What a session's requests tell of its watches."""

import dataclasses
from collections.abc import Sequence

import pytest

from edgeherd.cluster.client import Exchange
from edgeherd.controller.coverage import Coverage

DEVICES, HUBS = "/apis/edgeherd.io/v1alpha1/edgedevices", "/apis/edgeherd.io/v1alpha1/hubconnections"


def asked(path: str, status: int = 200, trouble: str = "", **query: str) -> Exchange:
    """A request, and its answer."""
    return Exchange(path=path, query=query, status=status, trouble=trouble)


def listed(path: str, status: int = 200) -> Exchange:
    """The first page of a list."""
    return asked(path, status, limit="500")


def watched(path: str, status: int = 200) -> Exchange:
    """A watch."""
    return asked(path, status, watch="true")


OPEN = (listed(DEVICES), listed(HUBS), watched(DEVICES), watched(HUBS))
LOST = asked(DEVICES, 0, "ClientConnectorError", watch="true")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The requests of a session in their order, and what is known after them."""

    sentence: str
    exchanges: Sequence[Exchange]
    complete: bool = False
    relists: int = 0
    trouble: str = ""


CASES = (
    Case(sentence="nothing was asked", exchanges=()),
    Case(sentence="both are listed", exchanges=OPEN[:2]),
    Case(sentence="one is watched", exchanges=OPEN[:3]),
    Case(sentence="both are watched", exchanges=OPEN, complete=True),
    Case(sentence="something else is asked", exchanges=(asked("/apis"), *OPEN, asked("/apis")), complete=True),
    Case(sentence="a list has pages", exchanges=(listed(DEVICES), asked(DEVICES, limit="500", **{"continue": "x"}), *OPEN[1:]), complete=True),
    Case(sentence="a watch goes on after its time", exchanges=(*OPEN, watched(DEVICES)), complete=True),
    Case(sentence="a watch is lost", exchanges=(*OPEN, LOST), trouble="The API server did not answer: ClientConnectorError"),
    Case(sentence="a watch is lost and found", exchanges=(*OPEN, LOST, watched(DEVICES)), complete=True, trouble="The API server did not answer: ClientConnectorError"),
    Case(sentence="a watch is too old", exchanges=(*OPEN, listed(DEVICES), watched(DEVICES)), complete=True, relists=1),
    Case(sentence="a list that is refused is none", exchanges=(listed(HUBS, 503), *OPEN), complete=True, trouble=f"The API server answered 503 to {HUBS}"),
    Case(sentence="the login is refused", exchanges=(*OPEN, watched(HUBS, 401)), trouble="The API server refuses the operator's login (401)"),
    Case(sentence="the kind is gone", exchanges=(*OPEN, watched(HUBS, 404)), trouble=f"The API server answered 404 to {HUBS}"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_the_requests_tell_what_is_watched(case: Case) -> None:
    """All watches are open when the last request of each went well."""
    coverage = Coverage([DEVICES, HUBS])
    relists = sum(coverage.take(exchange) for exchange in case.exchanges)
    assert (coverage.complete, relists, coverage.trouble) == (case.complete, case.relists, case.trouble)


ENDS = (
    (listed(HUBS, 401), True),
    (asked("/apis", 401), True),
    (watched(HUBS, 404), True),
    (asked("/apis/edgeherd.io/v1alpha1", 404), False),
    (watched(HUBS, 403), False),
    (watched(HUBS, 503), False),
    (LOST, False),
    (watched(HUBS), False),
)


@pytest.mark.parametrize(("exchange", "ends"), ENDS, ids=str)
def test_some_answers_are_final(exchange: Exchange, ends: bool) -> None:
    """Others may change with the next attempt."""
    assert Coverage([DEVICES, HUBS]).ends_with(exchange) is ends
