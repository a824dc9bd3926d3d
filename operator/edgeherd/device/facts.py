"""What a device said, parsed. Pure; everything that comes in is untrusted."""

import base64
import binascii
import dataclasses
import hashlib
import re


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One line of `iotedge list`."""

    name: str
    status: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What `systemctl show` says of the daemon's unit."""

    load_state: str = ""
    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    exec_main_status: int = 0
    restarts: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look at a device.

    `content` is None unless `kind` is 'file' and the file could be read. `version` is empty where no runtime answered.
    """

    version: str
    kind: str
    mode: str
    content: bytes | None = dataclasses.field(repr=False)
    unit: Unit
    modules: tuple[Module, ...]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content, in hex."""
        return hashlib.sha256(self.content or b"").hexdigest()


def framed(output: bytes, nonce: str) -> dict[str, bytes]:
    """The values of the lines `NONCE name base64`; everything else is noise."""
    values = {}
    prefix = nonce.encode() + b" "
    for line in output.splitlines():
        if not line.startswith(prefix):
            continue
        name, _, encoded = line[len(prefix) :].partition(b" ")
        try:
            values[name.decode("ascii", "replace")] = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            continue
    return values


_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)*(?:[~-][0-9A-Za-z.]+)?)")


def parse(values: dict[str, bytes]) -> Facts:
    """Facts from the values of one observation.

    Raises:
        ValueError: the answer is not whole.
    """
    if "end" not in values or "kind" not in values:
        message = "the device's answer was cut short"
        raise ValueError(message)
    version = _VERSION.search(_text(values, "version"))
    return Facts(
        version=version[1] if version else "",
        kind=_text(values, "kind"),
        mode=_text(values, "mode"),
        content=values.get("content"),
        unit=_unit(_text(values, "unit")),
        modules=_modules(_text(values, "modules")),
    )


def _text(values: dict[str, bytes], name: str) -> str:
    return values.get(name, b"").decode("utf-8", "replace").strip()


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _unit(text: str) -> Unit:
    pairs = dict(line.partition("=")[::2] for line in text.splitlines())
    return Unit(
        load_state=pairs.get("LoadState", ""),
        active_state=pairs.get("ActiveState", ""),
        sub_state=pairs.get("SubState", ""),
        result=pairs.get("Result", ""),
        exec_main_status=_number(pairs.get("ExecMainStatus", "")),
        restarts=_number(pairs.get("NRestarts", "")),
    )


def _modules(text: str) -> tuple[Module, ...]:
    """Upstream's own reading of `iotedge list`: split on white space; column 0 is the name, column 1 the status."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return tuple(Module(name=row[0], status=row[1]) for row in rows if len(row) > 1)
