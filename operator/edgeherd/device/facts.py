"""What a device said, parsed. Pure; everything that comes in is untrusted."""

import base64
import binascii
import contextlib
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One line of `iotedge list`. `up_seconds` is how long it runs at least; None where that cannot be told.

    `image` is empty where the line has none.
    """

    name: str
    status: str
    up_seconds: int | None = None
    image: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What `systemctl show` says of a unit."""

    name: str = ""
    load_state: str = ""
    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    exec_main_status: int = 0
    restarts: int = 0
    started: str = ""
    """Differs after every start of its process, whoever caused it; empty where the device did not tell."""


_ENGINES = ("docker", "iotedge-moby", "com.docker")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look at a device.

    `content` is None unless `kind` is 'file' and the file could be read. `version` is empty where no runtime answered.
    Times are seconds since 1970 by the device's clock; None where the device did not tell.
    """

    version: str
    path: str
    real_path: str = ""
    """Where the file is, if a link is on the way to it; empty where there is none, or nobody can tell."""
    kind: str
    has_folder: bool = True
    """Whether the folder is there in which the file is, or would be."""
    mode: str
    content: bytes | None = dataclasses.field(repr=False)
    template: bytes | None = dataclasses.field(repr=False, default=None)
    """What the package has for a device that was never configured."""
    taken: bool = True
    """Whether the services have what the file says: `iotedge config apply` was run since (1.2 and later)."""
    hashes: tuple[str, ...] = ()
    """Of the other files that were asked for: SHA-256, 'absent', or 'other' for what is no regular file."""
    modified: int | None = None
    now: int | None = None
    started: int | None = None
    """When the daemon's process started."""
    missing: tuple[str, ...] = ()
    """The tools that the scripts need and the device has not. What else is said may be wrong then."""
    unit: Unit
    services: tuple[Unit, ...] = ()
    """The daemon's other services and the container engine."""
    modules: tuple[Module, ...]
    journal: str = dataclasses.field(repr=False, default="")
    """What the daemon said since its start; only where edgeAgent does not run. It may hold secrets."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content, in hex; 'absent' for no file."""
        return "absent" if self.kind == "absent" else hashlib.sha256(self.content or b"").hexdigest()

    @property
    def agent_image(self) -> str:
        """The image of edgeAgent; empty where it does not show."""
        return next((module.image for module in self.modules if module.name == "edgeAgent"), "")

    @property
    def engine(self) -> Unit | None:
        """The container engine's unit, where there is one."""
        found = (unit for unit in self.services if unit.name.startswith(_ENGINES))
        return next((unit for unit in found if unit.load_state == "loaded"), None)


def framed(output: bytes, nonce: str) -> dict[str, bytes]:
    """The values of the lines `NONCE name base64`; everything else is noise."""
    values = {}
    # A banner without a line break may stand before an answer.
    answers = re.finditer(nonce.encode() + rb" ([a-z:0-9]{1,32}+) ([A-Za-z0-9+/=]*+)(?=[\r\n]|\Z)", output)
    for found in itertools.islice(answers, _ANSWERS):
        with contextlib.suppress(binascii.Error):
            values[found[1].decode("ascii")] = base64.b64decode(found[2], validate=True)
    return values


def sections(output: bytes, nonce: str) -> dict[str, bytes]:
    """The values of sections: a line `NONCE name`, after it the value up to the line break before the next such line.

    The last one, whose end nobody sees, has no value: it is `end`, or something was cut off. A terminal in between makes
    each line break two characters, in the values too.
    """
    found = re.split(rb"\n" + nonce.encode() + rb" ([a-z:0-9]{1,32}+)\r?\n", output, maxsplit=_ANSWERS)
    values = dict(zip(found[1:-2:2], found[2:-2:2], strict=True))
    if found[-2:-1] == [b"end"]:
        values[b"end"] = b""
    return {name.decode("ascii"): value for name, value in values.items()}


_ANSWERS = 256
"""More than any script gives."""
CONTENT_BYTES = 256 * 1024 + 1
"""So much of a file comes at most: it tells that a file is longer than any that is edited."""
MOST: Mapping[str, int] = {"journal": 32 * 1024, "modules": 64 * 1024, "units": 16 * 1024, "check": 256 * 1024}
"""How many bytes of a text are looked at; of all others 8 KiB. The scripts send no more, but a device may."""
_OTHERS = 8 * 1024
_MODULES = 200
_UNITS = 16

_VERSION = re.compile(r"(?<![\w.])([0-9]{1,4}(?:\.[0-9]{1,4}){1,4}(?:[~-][0-9A-Za-z.]{1,16})?)(?![\w.])")


_PATH = re.compile(r"[A-Za-z0-9._/\\:@+~() -]{0,255}")
"""Every path that `spec.runtime.configPath` can be, or that a runtime has; it gets into messages. Empty without one."""


def parse(values: Mapping[str, bytes], *, others: int = 0) -> Facts:
    """Facts from the values of one observation; `others` is how many other files were asked for.

    Raises:
        ValueError: the answer is not whole, or its path is none.
    """
    if "end" not in values or "kind" not in values:
        message = "the device's answer was cut short"
        raise ValueError(message)
    path = text(values, "path")
    if not _PATH.fullmatch(path):
        message = "what it calls the daemon's file is no path"
        raise ValueError(message)
    version, real = _VERSION.search(text(values, "version")), text(values, "real")
    about = text(values, "about").split(" ")
    mode, modified = _line(values, "mode"), _time(text(values, "modified"))
    content = values.get("content") if text(values, "readable") != "no" else None
    if len(about) == 4:
        mode, modified = _shown(" ".join(about[:2])), _time(about[2])
        if content is not None and len(content) != min(_time(about[3]) or 0, CONTENT_BYTES):
            message = "the daemon's file did not come as long as it is"
            raise ValueError(message)
    units = [_unit(block) for block in re.split(r"\n\s*\n", text(values, "units"), maxsplit=_UNITS)]
    return Facts(
        version=version[1] if version else "",
        path=path,
        real_path=real if real.startswith("/") and _PATH.fullmatch(real) else "",
        kind=_line(values, "kind"),
        has_folder=text(values, "folder") != "absent",
        mode=mode,
        content=content,
        template=values.get("template"),
        taken=text(values, "taken") != "no",
        hashes=tuple(_line(values, f"hash:{number}") or "absent" for number in range(others)),
        modified=modified,
        now=_time(text(values, "now")),
        started=_time(text(values, "started")),
        unit=units[0],
        services=tuple(units[1:]),
        modules=_modules(text(values, "modules")),
        journal=text(values, "journal"),
        missing=tuple(filter(None, map(_word, text(values, "missing").split()))),
    )


def text(values: Mapping[str, bytes], name: str) -> str:
    """A value as text, as much of it as is looked at."""
    most = MOST.get(name, _OTHERS)
    said = values.get(name, b"")
    said = said[-most:] if name == "journal" else said[:most]  # of a log the newest lines count
    return said.decode("utf-8", "replace").replace("\r\n", "\n").strip()


def _line(values: Mapping[str, bytes], name: str) -> str:
    """A text that may be shown to people: one line, not endless, and nothing that a terminal obeys."""
    return _shown(text(values, name))


def _shown(text: str) -> str:
    first = text.partition("\n")[0][:4096]
    return "".join(character for character in first if character.isprintable())


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else 0


_WORD = re.compile(r"[A-Za-z0-9@:._\\-]{1,128}")


def _word(text: str) -> str:
    """A name or a state of systemd's; empty for what is none."""
    return text if _WORD.fullmatch(text) else ""


def _time(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None


def _unit(text: str) -> Unit:
    pairs = dict(line.strip().partition("=")[::2] for line in text.splitlines())
    return Unit(
        name=_word(pairs.get("Id", "")),
        load_state=_word(pairs.get("LoadState", "")),
        active_state=_word(pairs.get("ActiveState", "")),
        sub_state=_word(pairs.get("SubState", "")),
        result=_word(pairs.get("Result", "")),
        exec_main_status=_number(pairs.get("ExecMainStatus", "")),
        restarts=_number(pairs.get("NRestarts", "")),
        started=found[0]
        if (found := re.match(r"[0-9]{1,20}\Z", pairs.get("ExecMainStartTimestampMonotonic", "")))
        else "",
    )


_STATUSES = frozenset({"running", "stopped", "failed", "dead"})
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}
_UP = re.compile(r"\bUp (?:about )?([0-9]{1,6}|an?) (second|minute|hour|day|week|month|year)s?\b")


def _modules(text: str) -> tuple[Module, ...]:
    """Upstream's own reading of `iotedge list`: split on white space; column 0 is the name, column 1 the status."""
    lines = [(line, line.split(maxsplit=2)) for line in text.splitlines()[1 : _MODULES + 1]]
    return tuple(
        Module(
            name=row[0],
            status=row[1] if row[1] in _STATUSES else "unknown",
            up_seconds=_up_seconds(line) if row[1] == "running" else None,
            image=_image(line),
        )
        for line, row in lines
        if len(row) > 1
    )


_IMAGE = re.compile(r"(?=.*[:/])[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
"""An image with a tag, a digest or a registry; it gets into the status."""


def _image(line: str) -> str:
    """The last column."""
    last = line.rsplit(maxsplit=1)[-1]
    return last if _IMAGE.fullmatch(last) else ""


def _up_seconds(line: str) -> int | None:
    """`Up 5 minutes` is rounded: it may be half a unit less."""
    found = _UP.search(line)
    if not found:
        return None
    amount = int(found[1]) if found[1].isdigit() else 1
    return int((amount - 0.5) * _SECONDS[found[2]]) if amount else 0
