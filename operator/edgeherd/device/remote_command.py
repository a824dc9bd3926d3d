"""One command for a device: what runs there, what it reads, how long it may take."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCommand:
    """One command line and what goes to its standard input: the nonce, a script and the nonce again, lines, a body.

    `script` ends with a line break, or is empty. `body` is what follows the lines until the end. Nothing of it shows in a
    repr: it may hold keys.
    """

    command: str = dataclasses.field(repr=False)
    script: str = dataclasses.field(repr=False, default="")
    lines: tuple[str, ...] = dataclasses.field(repr=False)
    body: bytes = dataclasses.field(repr=False, default=b"")
    seconds: float

    def stdin(self, nonce: str) -> bytes:
        """What the command reads.

        Raises:
            ValueError: a line holds a line break or a NUL, or what is no text, so the other side would read something else.
        """
        if any(character in line for line in self.lines for character in "\n\r\0"):
            message = "a parameter holds a line break"
            raise ValueError(message)
        script = f"{self.script}{nonce}\n" if self.script else ""
        lines = "".join(f"{line}\n" for line in self.lines)
        return f"{nonce}\n{script}{lines}".encode() + self.body
