"""What a device said, parsed: untrusted bytes in, values or a clear refusal out."""

import base64
import hashlib

import pytest

from edgeherd.device.facts import Facts, Module, Unit, framed, parse

NONCE = "n0nce"
UNIT = b"LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=153\nNRestarts=2\n"
LIST = b"""NAME             STATUS           DESCRIPTION      CONFIG
edgeAgent        running          Up 5 minutes     mcr.microsoft.com/azureiotedge-agent:1.0
edgeHub          stopped          Stopped a day ago mcr.microsoft.com/azureiotedge-hub:1.0
"""


def line(name: str, value: bytes) -> bytes:
    """A line as the scripts write it."""
    return f"{NONCE} {name} ".encode() + base64.b64encode(value) + b"\n"


@pytest.mark.parametrize(
    ("output", "values"),
    [
        pytest.param(b"", {}, id="silence"),
        pytest.param(line("kind", b"file\n"), {"kind": b"file\n"}, id="one value"),
        pytest.param(line("content", b""), {"content": b""}, id="an empty value is a value"),
        pytest.param(line("content", b"\x00\xff\r\n"), {"content": b"\x00\xff\r\n"}, id="any bytes"),
        pytest.param(
            b"Welcome!\n" + line("a", b"1") + b"** MOTD **\n" + line("b", b"2") + b"bye",
            {"a": b"1", "b": b"2"},
            id="banners and farewells around and between",
        ),
        pytest.param(b"other kind ZmlsZQ==\n", {}, id="another nonce"),
        pytest.param(b" " + line("kind", b"file"), {}, id="the nonce is not at the beginning of the line"),
        pytest.param(f"{NONCE} kind ZmlsZQ\n".encode(), {}, id="base64 that was cut"),
        pytest.param(f"{NONCE} kind Zml$ZQ==\n".encode(), {}, id="no base64"),
        pytest.param(line("kind", b"file").replace(b"\n", b"\r\n"), {"kind": b"file"}, id="a terminal's line ends"),
        pytest.param(line("kind", b"a") + line("kind", b"b"), {"kind": b"b"}, id="the last of two"),
    ],
)
def test_framed_takes_what_has_the_nonce_and_nothing_else(output: bytes, values: dict[str, bytes]) -> None:
    """Nothing that a device says without the nonce is an answer."""
    assert framed(output, NONCE) == values


def test_a_whole_answer_becomes_facts() -> None:
    """Every value has its place."""
    said = {
        "version": b"iotedge 1.0.10 (2a1f7c3)\n",
        "kind": b"file\n",
        "mode": b"iotedge:iotedge 400\n",
        "content": b"provisioning:\n",
        "unit": UNIT,
        "modules": LIST,
        "end": b"ok\n",
    }
    assert parse(said) == Facts(
        version="1.0.10",
        kind="file",
        mode="iotedge:iotedge 400",
        content=b"provisioning:\n",
        unit=Unit(
            load_state="loaded",
            active_state="failed",
            sub_state="failed",
            result="exit-code",
            exec_main_status=153,
            restarts=2,
        ),
        modules=(Module(name="edgeAgent", status="running"), Module(name="edgeHub", status="stopped")),
    )


def test_the_least_answer_becomes_empty_facts() -> None:
    """A machine without systemd and without IoT Edge is still a machine that answered."""
    assert parse({"kind": b"absent", "end": b"ok"}) == Facts(
        version="", kind="absent", mode="", content=None, unit=Unit(), modules=()
    )


@pytest.mark.parametrize("missing", ["end", "kind"])
def test_a_cut_answer_is_refused(missing: str) -> None:
    """Half an answer must not pass for a device without this or that."""
    said = {"kind": b"file", "end": b"ok"}
    del said[missing]
    with pytest.raises(ValueError, match="cut short"):
        parse(said)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        pytest.param(b"iotedge 1.1.15\n", "1.1.15", id="plain"),
        pytest.param(b"iotedge 1.0.10 (8bb4bcc0d1a2)\n", "1.0.10", id="with a commit"),
        pytest.param(b"iotedge 1.0.10.4\n", "1.0.10.4", id="four numbers"),
        pytest.param(b"iotedge 1.5.0~rc1\n", "1.5.0~rc1", id="a candidate"),
        pytest.param(b"", "", id="no runtime"),
        pytest.param(b"sh: 1: iotedge: not found\n", "", id="a complaint"),
        pytest.param(b"\xff\xfe", "", id="no text"),
    ],
)
def test_the_version_is_found_in_what_iotedge_prints(said: bytes, version: str) -> None:
    """Only a dotted number is a version."""
    assert parse({"kind": b"absent", "end": b"ok", "version": said}).version == version


@pytest.mark.parametrize(
    ("said", "modules"),
    [
        pytest.param(b"", (), id="nothing"),
        pytest.param(b"NAME STATUS DESCRIPTION CONFIG\n", (), id="the header only"),
        pytest.param(b"NAME STATUS DESCRIPTION Config\nlonely\n", (), id="a row with a name only"),
        pytest.param(b"NAME STATUS\n\xff\xfe running\n", (Module(name="��", status="running"),), id="no text"),
    ],
)
def test_odd_lists_of_modules_are_read_as_far_as_they_go(said: bytes, modules: tuple[Module, ...]) -> None:
    """A row needs a name and a status."""
    assert parse({"kind": b"absent", "end": b"ok", "modules": said}).modules == modules


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        pytest.param(b"ExecMainStatus=\nNRestarts=many\n", Unit(), id="numbers that are none"),
        pytest.param(b"ExecMainStatus=-1\n", Unit(), id="a negative number"),
        pytest.param(b"ActiveState=a=b\n", Unit(active_state="a=b"), id="an equals sign in a value"),
        pytest.param(b"garbage\n\n=\n", Unit(), id="lines of another kind"),
    ],
)
def test_odd_units_are_read_as_far_as_they_go(said: bytes, unit: Unit) -> None:
    """What cannot be read has its default."""
    assert parse({"kind": b"absent", "end": b"ok", "unit": said}).unit == unit


def test_facts_do_not_show_the_file_in_their_repr() -> None:
    """It holds a key; logs and tracebacks show reprs."""
    facts = parse({"kind": b"file", "end": b"ok", "content": b"SharedAccessKey=hush"})
    assert "hush" not in repr(facts)
    assert facts.sha256 == hashlib.sha256(b"SharedAccessKey=hush").hexdigest()
