"""One command for a device: what runs there, what it reads, how long it may take."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCommand:
    """One command line and what goes to its standard input, after the nonce and line by line.

    `body` is what follows the lines until the end. Nothing of it shows in a repr: it may hold keys.
    """

    command: str = dataclasses.field(repr=False)
    lines: tuple[str, ...] = dataclasses.field(repr=False)
    body: str = dataclasses.field(repr=False, default="")
    seconds: float

    def stdin(self, nonce: str) -> bytes:
        """What the command reads.

        Raises:
            ValueError: a line holds a line break or a NUL, so the other side would read something else.
        """
        if any(character in line for line in self.lines for character in "\n\r\0"):
            message = "a parameter holds a line break"
            raise ValueError(message)
        return "\n".join([nonce, *self.lines, self.body]).encode()
