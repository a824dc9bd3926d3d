"""Side effects, counted: the chosen one goes wrong, before or after it is done."""

import contextlib
import dataclasses
from collections.abc import Iterator


class CrashError(BaseException):
    """The process is gone: nobody catches this."""


@dataclasses.dataclass
class Steps:
    """What was done to a world, in order. The fakes of one world share it, so that any step of a pass can go wrong."""

    at: int | None = None
    """Which step goes wrong, counted from 1. Only that one does."""
    after: bool = False
    """Whether it goes wrong after it was done: an answer that got lost."""
    error: BaseException | None = None
    taken: list[str] = dataclasses.field(default_factory=list)

    def begin(self, at: int | None = None, error: BaseException | None = None, *, after: bool = False) -> None:
        """Count from 1 again, and choose what goes wrong now."""
        self.at, self.error, self.after = at, error, after
        self.taken.clear()

    @contextlib.contextmanager
    def step(self, what: str, port: type[Exception], no_answer: Exception) -> Iterator[None]:
        """One side effect.

        Args:
            what: Its entry in `taken`.
            port: The errors that the port may raise.
            no_answer: What it raises in place of an error that is another port's.
        """
        self.taken.append(what)
        chosen = self.at == len(self.taken)
        if chosen and not self.after:
            self._fail(port, no_answer)
        yield
        if chosen and self.after:
            self._fail(port, no_answer)

    def _fail(self, port: type[Exception], no_answer: Exception) -> None:
        self.at = None
        if self.error is None:
            return
        if isinstance(self.error, Exception) and not isinstance(self.error, port):
            raise no_answer
        raise self.error
