"""What can end a step, said as what happens next.

    ReconcileError
      Waiting   the world may become right by itself or by somebody's work: look again after `retry_after`
      Stalled   only a human can fix it; the message says how

Anything else that is raised is a bug: it is logged with its traceback and retried with back-off.
"""


class ReconcileError(Exception):
    """A step ended early for a reason that the user may read.

    `reason` is one CamelCase word and part of the API; `message` is a sentence that ends with what to do next.
    Neither may hold a secret or text that changes from one try to the next (request ids, ports, times).
    `condition` is the type of the condition that it is about, where that is not the step's own.
    """

    observed = True
    """Whether anything could be seen: if not, the condition becomes Unknown, not False."""

    def __init__(self, reason: str, message: str, *, condition: str = "") -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.condition = condition


class Waiting(ReconcileError):
    """Not yet: look again after `retry_after` seconds."""

    def __init__(
        self, reason: str, message: str, *, retry_after: float = 15.0, observed: bool = True, condition: str = ""
    ) -> None:
        super().__init__(reason, message, condition=condition)
        self.retry_after = retry_after
        self.observed = observed


class Stalled(ReconcileError):
    """Not without a human. It is still looked at again, slowly, because the fix may happen where nobody tells us."""
