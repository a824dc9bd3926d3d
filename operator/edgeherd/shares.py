"""How many of a few places one tenant may hold, while others may want some at any moment. Pure.

No tenant has a fixed part: one alone gets nearly all places, two get a half each, many get one each. A newcomer finds a
place, whoever came first and however long that one stays.
"""


def may_take(*, held: int, free: int, reserve: int) -> bool:
    """Whether a tenant that holds `held` places may take one more of the `free` ones.

    It must leave as many free as it holds, but never more than `reserve`. So the more a tenant has, the more it leaves to
    others: of 64 places with a reserve of 16 one tenant alone gets 48, and the next one eight at once; the first one's
    places are the second one's as they come back, until both have 24 and the reserve is whole again.
    """
    return free > 0 and free - 1 >= min(held, reserve)
