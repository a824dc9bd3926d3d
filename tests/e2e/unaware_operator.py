"""`edgeherd run`, but for some seconds it does not hear that its Lease is lost: what stops it is the fence alone."""

import time

from edgeherd.cli import run
from edgeherd.cluster.elector import Elector
from edgeherd.cluster.lease import LeaseLostError

UNAWARE_SECONDS = 5.0

_lose = Elector._lose  # noqa: SLF001 - the very moment that is put off


def _lose_late(self: Elector, why: LeaseLostError) -> None:
    time.sleep(UNAWARE_SECONDS)
    _lose(self, why)


if __name__ == "__main__":  # worker processes import this module too
    Elector._lose = _lose_late  # type: ignore[method-assign]  # noqa: SLF001 - the same
    run()
