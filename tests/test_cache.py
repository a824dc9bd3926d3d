"""What is kept in memory, and what goes to make room."""

import asyncio

from edgeherd.cache import OVERHEAD_BYTES, Cache, Recent

ROOM_FOR_TWO = 2 * (OVERHEAD_BYTES + 100)


def kept(values: Recent[str, str], *keys: str) -> list[str]:
    """Those of the keys that are still there."""
    return [key for key in keys if key in values]


def test_what_was_used_longest_ago_goes_first() -> None:
    """By its bytes, not by its number."""
    values = Recent[str, str](ROOM_FOR_TWO)
    values.put("a", "A", 100)
    values.put("b", "B", 100)
    assert values["a"] == "A"
    values.put("c", "C", 100)
    assert kept(values, "a", "b", "c") == ["a", "c"]
    values.put("d", "D", 150)
    assert kept(values, "a", "c", "d") == ["d"]


def test_room_that_is_given_back_is_there_again() -> None:
    """By a key that is forgotten, or written anew."""
    values = Recent[str, str](ROOM_FOR_TWO)
    for _ in range(9):
        values.put("a", "A", 100)
    values.put("b", "B", 100)
    values.pop("a")
    values.pop("never there")
    values.put("c", "C", 100)
    assert kept(values, "a", "b", "c") == ["b", "c"]


def test_what_does_not_fit_is_not_kept() -> None:
    """And takes nothing with it for good."""
    values = Recent[str, str](ROOM_FOR_TWO)
    values.put("big", "B", ROOM_FOR_TWO)
    values.put("a", "A", 100)
    assert kept(values, "big", "a") == ["a"]


async def test_a_content_is_read_once_for_all_who_ask() -> None:
    """Though it be nothing; what could not be read is read again."""
    cache = Cache[None](ROOM_FOR_TWO)
    read: list[int] = []

    async def reader() -> tuple[None, int]:
        await asyncio.sleep(0)
        read.append(1)
        if len(read) == 1:
            raise ValueError
        return None, 10

    asked = await asyncio.gather(*(cache.get(b"k", reader) for _ in range(3)), return_exceptions=True)
    assert ([type(answer) for answer in asked], len(read)) == ([ValueError, type(None), type(None)], 2)
