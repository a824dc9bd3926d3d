"""What systemd makes of the drop-ins of a unit: the environment of its process."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping

from edgeherd_sim.devices.filesystem import FileSystem

_PIECE = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\\.|[^\s"'\\]+)"""
_WORD = re.compile(f"{_PIECE}+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a unit's files say, as systemd keeps it from one daemon-reload to the next."""

    said: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """`Environment=`."""
    files: tuple[str, ...] = ()
    """`EnvironmentFile=`: read when the process starts, not before. A leading '-' allows a file to be missing."""

    def shown(self) -> str:
        """As `systemctl show` prints it; nothing where there is nothing."""
        if not self.said and not self.files:
            return ""
        values = [f"{name}={value}" for name, value in self.said.items()]
        shown = " ".join("[unprintable]" if re.search(r"[ \n]", value) else value for value in values)
        files = [
            f"EnvironmentFiles={file.removeprefix('-')} (ignore_errors={'yes' if file.startswith('-') else 'no'})"
            for file in self.files
        ]
        return "".join(f"{line}\n" for line in (f"Environment={shown}", *files))

    def of_process(self, files: FileSystem) -> dict[str, str]:
        """What a process gets that starts now.

        Raises:
            OSError: a file that must be there is not.
        """
        found = dict(self.said)
        for file in self.files:
            try:
                found.update(_assignments(files.at(file.removeprefix("-")).read_text(errors="replace")))
            except OSError:
                if not file.startswith("-"):
                    raise
        return found


def load(files: FileSystem, unit: str) -> Environment:
    """Read the drop-ins of a unit, as `systemctl daemon-reload` does."""
    said: dict[str, str] = {}
    named: list[str] = []
    for path in files.drop_ins(unit):
        for key, value in _service_lines(path):
            if key == "Environment":
                said = {**said, **_words(value)} if value else {}
            elif key == "EnvironmentFile":
                named = [*named, value] if value else []
    return Environment(said=said, files=tuple(named))


def _service_lines(path: pathlib.Path) -> list[tuple[str, str]]:
    """The assignments of the section `[Service]`."""
    section = ""
    found = []
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            found.append((key.strip(), value.strip()))
    return found


def _words(text: str) -> dict[str, str]:
    """`"A=b c" D=e`: quoted words, backslashes, and %% for a percent sign."""
    found = {}
    for match in _WORD.finditer(text):
        name, equals, value = _bare(match[0]).replace("%%", "%").partition("=")
        if equals and _NAME.fullmatch(name):
            found[name] = value
    return found


def _assignments(text: str) -> dict[str, str]:
    """A file of assignments: one a line, no percent signs to double."""
    found = {}
    for raw in text.splitlines():
        line = raw.strip()
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")) and _NAME.fullmatch(name.strip()):
            found[name.strip()] = _bare(value.strip())
    return found


def _bare(word: str) -> str:
    """Without quotation marks and backslashes."""

    def piece(match: re.Match[str]) -> str:
        text = match[0]
        return re.sub(r"\\(.)", r"\1", text[1:-1] if text[0] in "\"'" else text)

    return re.sub(_PIECE, piece, word)
