"""What a pass came to: what is told of it, and when the next one is due."""

import asyncio
import logging

import pytest

from edgeherd.cluster.errors import ApiError, ConflictError
from edgeherd.controller.controller import Controller, Kind
from edgeherd.controller.workqueue import Priority, WorkQueue
from edgeherd.model import Key
from edgeherd.reconcile.requeue import Requeue

DEVICE = Key("EdgeDevice", "plant-a", "press-01")


class Queue(WorkQueue):
    """Remembers when a key is to come back."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[object] = []

    def add_after(self, key: Key, seconds: float, priority: Priority = Priority.DRIFT) -> None:
        """See `WorkQueue`."""
        assert key == DEVICE
        self.said.append((round(seconds, 1), priority))

    def add_rate_limited(self, key: Key) -> float:
        """See `WorkQueue`."""
        self.said.append(f"rate limited {key.name}")
        return 1.0


@pytest.mark.parametrize(
    ("outcome", "result", "said", "level"),
    [
        pytest.param(None, "success", [], None, id="nothing more to do"),
        pytest.param(Requeue(900, Priority.DRIFT), "requeue_after", [(900, Priority.DRIFT)], None, id="later"),
        pytest.param(ConflictError(409, "x"), "requeue", [(0.2, Priority.CHANGE)], None, id="it changed meanwhile"),
        pytest.param(ApiError(500, "x"), "error", ["rate limited press-01"], "WARNING", id="the API server refused"),
        pytest.param(KeyError("x"), "error", ["rate limited press-01"], "ERROR", id="a bug"),
    ],
)
async def test_what_a_pass_came_to(
    outcome: Requeue | Exception | None,
    result: str,
    said: list[object],
    level: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In controller-runtime's words; what went wrong is in the log, with the object."""

    async def reconcile(key: Key) -> Requeue | None:
        assert key == DEVICE
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    ended: asyncio.Future[tuple[Key, str, bool]] = asyncio.get_running_loop().create_future()
    queue = Queue()
    kind = Kind(plural="edgedevices", on_event=lambda *_: None, reconcile=reconcile)
    controller = Controller(
        queue,
        {"EdgeDevice": kind},
        workers=1,
        ended=lambda key, how, seconds: ended.set_result((key, how, 0 <= seconds < 60)),
    )
    queue.add(DEVICE)
    with caplog.at_level(logging.INFO):
        worker = asyncio.create_task(controller._work())  # noqa: SLF001 - `run` needs a cluster
        found = await asyncio.wait_for(ended, 20)
        worker.cancel()
    assert (found, queue.said) == ((DEVICE, result, True), said)
    assert [(record.levelname, record.key) for record in caplog.records] == ([(level, DEVICE)] if level else [])  # type: ignore[attr-defined]
