"""What a log line looks like, and that no secret leaves through one. What looks like a secret: test_masking.py."""

import json
import logging
import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeherd.masking import masked
from edgeherd.model import Key
from edgeherd.telemetry import logs

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
DEVICE, HUB = Key("EdgeDevice", "plant-a", "press-01"), Key("HubConnection", "", "contoso")


def record(message: object, *args: object, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    """A record of 2026-01-01 at midnight and a bit."""
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("edgeherd.x", logging.WARNING, __file__, 1, message, args, exc_info)
    made.created = 1_767_225_600.0625
    made.__dict__.update(extra)
    return made


def test_messages_arguments_and_tracebacks_are_masked() -> None:
    """The formatter masks the whole line."""
    said = record("said %s", KEY, error=ValueError(f"bad SharedAccessKey={KEY}"))
    assert logs.MaskingFormatter("%(message)s").format(said) == "said ***\nValueError: bad SharedAccessKey=***"


USUAL = {"time": "2026-01-01T00:00:00.062Z", "level": "warning", "logger": "edgeherd.x"}
OF_DEVICE = {"controller": "edgedevice", "controllerKind": "EdgeDevice", "namespace": "plant-a", "name": "press-01"}
OF_HUB = {"controller": "hubconnection", "controllerKind": "HubConnection", "name": "contoso"}


@pytest.mark.parametrize(
    ("said", "fields", "text"),
    [
        pytest.param(record("a %s", "b"), {"message": "a b"}, "a b", id="a message with arguments"),
        pytest.param(
            record("it is so", key=DEVICE, reason="Ready"),
            {"message": "it is so", **OF_DEVICE, "reason": "Ready"},
            "EdgeDevice plant-a/press-01: Ready: it is so",
            id="of an object",
        ),
        pytest.param(
            record("it is so", key=HUB), {"message": "it is so", **OF_HUB}, "HubConnection contoso: it is so", id="of one without a namespace"
        ),
        pytest.param(
            record("x", key="k", reason=7, k8s_ref={"a": KEY}, settings=object()), {"message": "x"}, "x", id="what others hang on it"
        ),
        pytest.param(record({"a": KEY}), {"message": "{'a': '***'}"}, "{'a': '***'}", id="a mapping in place of a message"),
        pytest.param(
            record('sig=hush"\\\n\u00e9\U0001f600\ud800', key=DEVICE),
            {"message": 'sig=***"\\\n\u00e9\U0001f600\ufffd', **OF_DEVICE},
            None,
            id="a secret beside what is escaped",
        ),
        pytest.param(
            record("x", error=ValueError("bad sig=hush")),
            {"message": "x", "stacktrace": "ValueError: bad sig=***"},
            "x\nValueError: bad sig=***",
            id="an error",
        ),
    ],
)  # fmt: skip
def test_a_line(said: logging.LogRecord, fields: dict[str, Any], text: str | None) -> None:
    """As JSON, and as text."""
    line = logs.JsonFormatter().format(said)
    assert (json.loads(line), line.isascii(), "\n" in line) == ({**USUAL, **fields}, True, False)
    assert list(json.loads(line))[:4] == ["time", "level", "logger", "message"]
    if text is not None:
        assert logs.MaskingFormatter("%(message)s").format(said) == text


SHAPES = (
    "SharedAccessKey={}", "SharedAccessKey = {} tail", "AccountKey={};x", "?sig={}&se=1", "Authorization: Bearer {}",
    "http://user:{}@host.example/", "SharedAccessSignature {} x", "pkcs11:a?pin-value={}&x=1",
    "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
)  # fmt: skip
TOKEN = "c2VjcmV0LXRva2Vu"
"""What stands for the secret: nothing that is generated beside it holds it."""

AROUND = st.text(st.characters() | st.sampled_from("\"'\\\n\t\r\x00\u2028/ =;&\ud800{}"), max_size=12)
"""Half surrogate pairs too: a hub's JSON can have them."""


@given(before=AROUND, shape=st.sampled_from(SHAPES), after=AROUND, wrapped=st.booleans())
@example(before='"', shape=SHAPES[0], after='"', wrapped=True)
@example(before="\\", shape=SHAPES[0], after="\\", wrapped=False)
def test_no_secret_survives_escaping(before: str, shape: str, after: str, wrapped: bool) -> None:
    """Whatever stands around it, and whether it was JSON already: not as it is, and not escaped."""
    text = before + shape.format(TOKEN) + " " + after
    shown = json.dumps({"said": text}) if wrapped else text
    if TOKEN in masked(shown.encode("utf-16", "surrogatepass").decode("utf-16", "replace")):
        return  # what stands before it makes another word of it: test_masking.py says which words count
    line = logs.JsonFormatter().format(record("%s", shown, error=ValueError(shown), key=DEVICE, reason=shown))
    fields = json.loads(line)
    assert TOKEN not in line
    assert all(masked(value) == value for value in fields.values())
    assert {name: fields[name] for name in OF_DEVICE} == OF_DEVICE


@given(before=AROUND, after=AROUND)
def test_a_key_in_base64_does_not_either(before: str, after: str) -> None:
    """With the characters that JSON may escape."""
    key = "+/MTIzNDU2Nzg5MDEy+/M0NTY3ODkwMTIzNDU2Nzg5M/+="
    for written in (key, key.replace("/", "\\/"), key.replace("+", "\\u002B").replace("=", "\\u003d")):
        line = logs.JsonFormatter().format(record("%s", f"{before} {written} {after}"))
        assert written[4:20] not in line
        assert written[4:20] not in json.loads(line)["message"]


SCRIPT = """
import logging, sys, threading, warnings
from edgeherd.telemetry import logs
logs.configure("INFO", sys.argv[1])
logging.getLogger("edgeherd.x").info("hello")
logging.getLogger("kopf").info("too much")
warnings.warn("sig=hush", stacklevel=1)
thread = threading.Thread(target=lambda: [][0], daemon=True)
thread.start()
thread.join()
raise ValueError("sig=hush")
"""


def said_by(log_format: str, *, terminal: bool) -> str:
    """What a process writes on stderr."""
    if not terminal:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, log_format], stderr=subprocess.PIPE, check=False, timeout=60
        )
        return done.stderr.decode()
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, log_format], stderr=theirs)
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:
            pass  # the other end is closed
        process.wait(60)
        return said.decode()
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [("", False, True), ("", True, False), ("json", True, True), ("text", False, False)],
    ids=["a file", "a terminal", "JSON on a terminal", "text in a file"],
)
def test_the_form_is_that_of_who_reads(log_format: str, terminal: bool, is_json: bool) -> None:
    """Errors that nobody catches, in whatever thread, and warnings come out the same way; libraries are quiet."""
    said = said_by(log_format, terminal=terminal)
    assert "hush" not in said
    words = ("hello", "sig=***", "IndexError", "ValueError: sig=***")
    assert [word for word in words if word not in said] == []
    assert "too much" not in said
    lines = said.splitlines()
    if is_json:
        assert [json.loads(line)["level"] for line in lines] == ["info", "warning", "critical", "critical"]
    else:
        assert " INFO edgeherd.x hello" in lines[0]
