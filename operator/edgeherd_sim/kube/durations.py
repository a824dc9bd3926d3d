"""Ages as kubectl and the API server print them."""

import datetime as dt

_MINUTE, _HOUR = 60, 3600


def age(time: str | None) -> str:
    """How long ago a time of the API was."""
    if not time:
        return "<unknown>"
    try:
        then = dt.datetime.fromisoformat(time)
    except ValueError:
        return "<invalid>"
    return words(int((dt.datetime.now(dt.UTC) - then).total_seconds()))


def words(seconds: int) -> str:  # noqa: PLR0911 - one for each span
    """A duration: two units at most, the smaller one only while it tells something."""
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    minutes = seconds // _MINUTE
    if minutes < 10:
        return _two(minutes, "m", seconds % _MINUTE, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = seconds // _HOUR
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _days(hours)


def _days(hours: int) -> str:
    days = hours // 24
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    years = days // 365
    if years < 2:
        return f"{days}d"
    if years < 8:
        return _two(years, "y", days % 365, "d")
    return f"{years}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")
