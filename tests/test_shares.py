"""How many places a tenant may hold."""

import pytest

from edgeherd.shares import may_take


def shares(places: int, reserve: int, tenants: int) -> list[int]:
    """What tenants hold who come one after the other, each wanting everything, and keep what they got."""
    held: list[int] = []
    for _ in range(tenants):
        mine = 0
        while may_take(held=mine, free=places - sum(held) - mine, reserve=reserve):
            mine += 1
        held.append(mine)
    return held


@pytest.mark.parametrize(
    ("places", "reserve", "found"),
    [
        (64, 16, [48, 8, 4, 2, 1, 1, 0]),
        (16, 8, [8, 4, 2, 1, 1, 0, 0]),
        (8, 0, [8, 0, 0, 0, 0, 0, 0]),
        (8, 100, [4, 2, 1, 1, 0, 0, 0]),
        (1, 0, [1, 0, 0, 0, 0, 0, 0]),
    ],
    ids=["the usual workers", "the hub's line", "nothing is reserved", "all is reserved", "there is one place only"],
)
def test_what_newcomers_find(places: int, reserve: int, found: list[int]) -> None:
    """Whoever came first and never gives anything back leaves something to several more."""
    assert shares(places, reserve, len(found)) == found
