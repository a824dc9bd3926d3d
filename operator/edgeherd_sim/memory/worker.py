"""A worker that is none: functions run where they are asked for, so that a test pays for no process."""

from collections.abc import Callable
from typing import Any


async def run_here(function: Callable[..., Any], *arguments: Any) -> Any:
    """See `edgeherd.worker.Run`."""
    return function(*arguments)
