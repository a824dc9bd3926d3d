"""What a worker process may be asked for, good and bad."""

import os
import time


def spin() -> None:
    """Take processor time for ever."""
    while True:
        pass


def wait(path: str) -> None:
    """Say which process this is, and end never."""
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - the child imports as little as it can
        file.write(str(os.getpid()))
    time.sleep(600)


def hoard() -> int:
    """Take memory without end."""
    return len([bytearray(2**20) for _ in range(4096)])


def die() -> None:
    """End at once."""
    os._exit(3)


def bug() -> None:
    """What is none of the worker's troubles."""
    raise KeyError("x")
