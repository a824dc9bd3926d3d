"""What a device said, parsed: untrusted bytes in, values or a clear refusal out."""

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeherd import config
from edgeherd.device.facts import CONTENT_BYTES, Facts, Module, Unit, framed, parse, sections

NONCE = "n0nce"
FAILED = b"Id=iotedge.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=153\nNRestarts=2\n"
DOCKER = b"Id=docker.service\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nExecMainStatus=0\nNRestarts=0\n"
NO_DOCKER = (
    b"Id=docker.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nNRestarts=0\n"
)
LIST = b"""NAME             STATUS           DESCRIPTION      CONFIG
edgeAgent        running          Up 5 minutes     mcr.microsoft.com/azureiotedge-agent:1.0
edgeHub          stopped          Stopped a day ago mcr.microsoft.com/azureiotedge-hub:1.0
"""
MODULES = (
    Module(name="edgeAgent", status="running", up_seconds=270, image="mcr.microsoft.com/azureiotedge-agent:1.0"),
    Module(name="edgeHub", status="stopped", image="mcr.microsoft.com/azureiotedge-hub:1.0"),
)
"""What is in it."""


def line(name: str, value: bytes) -> bytes:
    """A line as the scripts write it."""
    return f"{NONCE} {name} ".encode() + base64.b64encode(value) + b"\n"


def said(**values: bytes) -> dict[str, bytes]:
    """A whole answer with these values in it."""
    return {"kind": b"absent\n", "end": b"ok\n", **values}


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
        pytest.param(b"Welcome! " + line("kind", b"file"), {"kind": b"file"}, id="a banner glued in front of it"),
        pytest.param(
            b"n0nce kind Zg==" + line("kind", b"file"), {"kind": b"file"}, id="a banner that pretends to be an answer"
        ),
        pytest.param(f"{NONCE}kind ZmlsZQ==\n".encode(), {}, id="no blank after the nonce"),
        pytest.param(f"{NONCE} kind ZmlsZQ\n".encode(), {}, id="base64 that was cut"),
        pytest.param(f"{NONCE} kind Zml$ZQ==\n".encode(), {}, id="no base64"),
        pytest.param(f"{NONCE} kind ZmlsZQ== x\n".encode(), {}, id="more than one value"),
        pytest.param(f"{NONCE} \xff\n".encode("latin-1"), {}, id="a name that is no text"),
        pytest.param(line("kind", b"file").replace(b"\n", b"\r\n"), {"kind": b"file"}, id="a terminal's line ends"),
        pytest.param(line("kind", b"a") + line("kind", b"b"), {"kind": b"b"}, id="the last of two"),
    ],
)
def test_framed_takes_what_has_the_nonce_and_nothing_else(output: bytes, values: dict[str, bytes]) -> None:
    """Nothing that a device says without the nonce is an answer."""
    assert framed(output, NONCE) == values


def section(name: str, value: bytes) -> bytes:
    """A section as the scripts for Linux write it."""
    return f"\n{NONCE} {name}\n".encode() + value


END = section("end", b"ok")


@pytest.mark.parametrize(
    ("output", "values"),
    [
        pytest.param(b"", {}, id="silence"),
        pytest.param(END, {"end": b""}, id="the end alone"),
        pytest.param(section("kind", b"file") + END, {"kind": b"file", "end": b""}, id="one value"),
        pytest.param(section("content", b"") + END, {"content": b"", "end": b""}, id="an empty value is a value"),
        pytest.param(
            section("content", b"\x00\xff\r\n\n") + END, {"content": b"\x00\xff\r\n\n", "end": b""}, id="any bytes"
        ),
        pytest.param(
            b"Welcome!" + section("a", b"1") + section("b", b"2") + END + b"bye\nother a\n",
            {"a": b"1", "b": b"2", "end": b""},
            id="a banner and a farewell",
        ),
        pytest.param(section("kind", b"file"), {}, id="a value that may be half"),
        pytest.param(section("a", b"1") + section("kind", b"fi"), {"a": b"1"}, id="one whole value before it"),
        pytest.param(b"\nother kind\nfile" + END, {"end": b""}, id="another nonce"),
        pytest.param(b"n0nce kind\nfile" + END, {"end": b""}, id="not at the beginning of a line"),
        pytest.param(section("a", b"n0nce b\n2") + END, {"a": b"n0nce b\n2", "end": b""}, id="a nonce in a value"),
        pytest.param(b"\nn0nce KIND\nfile" + END, {"end": b""}, id="no name"),
        pytest.param(
            (section("kind", b"file") + END).replace(b"\n", b"\r\n"),
            {"kind": b"file\r", "end": b""},
            id="a terminal in between",
        ),
        pytest.param(
            section("content", b"x\r") + END, {"content": b"x\r", "end": b""}, id="a value that ends with one of them"
        ),
        pytest.param(
            section("kind", b"a") + section("kind", b"b") + END, {"kind": b"b", "end": b""}, id="the last of two"
        ),
    ],
)
def test_sections_are_what_is_between_two_nonces(output: bytes, values: dict[str, bytes]) -> None:
    """Nothing before the first one, nothing after the last one."""
    assert sections(output, NONCE) == values


ABOUT = b"iotedge:iotedge 400 1700000000 5"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"about": ABOUT, "content": b"12345"}, ("iotedge:iotedge 400", 1700000000, b"12345"), id="whole"),
        pytest.param({"about": b"", "content": b"12345"}, ("", None, b"12345"), id="no stat"),
        pytest.param({"about": b"a b c", "content": b"12345"}, ("", None, b"12345"), id="another stat"),
        pytest.param({"about": ABOUT, "content": b"1234"}, None, id="cut, or changed meanwhile"),
        pytest.param({"about": ABOUT, "content": b"12345\r"}, None, id="a terminal in between"),
        pytest.param({"about": ABOUT, "content": b"123", "readable": b"no"}, ("iotedge:iotedge 400", 1700000000, None), id="a broken disk"),
        pytest.param({"about": b"a:b 400 17 many", "content": b"12345"}, None, id="no size"),
        pytest.param({"about": b"a:b 400 17 999999", "content": b"x" * CONTENT_BYTES}, ("a:b 400", 17, b"x" * CONTENT_BYTES), id="longer than what is taken"),
    ],
)  # fmt: skip
def test_a_file_is_as_long_as_it_is_there(
    values: dict[str, bytes], expected: tuple[str, int | None, bytes | None] | None
) -> None:
    """Its bytes come as they are, so that is what tells that they came whole."""
    if expected is None:
        with pytest.raises(ValueError, match="as long as it is"):
            parse(said(kind=b"file", **values))
        return
    facts = parse(said(kind=b"file", **values))
    assert (facts.mode, facts.modified, facts.content) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [(b"", ()), (b"stat sha256sum", ("stat", "sha256sum")), (b"stat \x1b[31m $(x)", ("stat",))],
)
def test_tools_that_are_missing(text: bytes, names: tuple[str, ...]) -> None:
    """Their names get into a message."""
    assert parse(said(missing=text)).missing == names


def test_a_whole_answer_becomes_facts() -> None:
    """Every value has its place."""
    values = {
        "version": b"iotedge 1.0.10 (2a1f7c3)\n",
        "path": b"/etc/iotedge/config.yaml",
        "kind": b"file\n",
        "mode": b"iotedge:iotedge 400\n",
        "modified": b"1700000000\n",
        "content": b"provisioning:\n",
        "hash:1": b"0a1b\n",
        "hash:2": b"other\n",
        "units": FAILED + b"\n" + DOCKER,
        "now": b"1700000100\n",
        "started": b"1700000050\n",
        "modules": LIST,
        "journal": b"a\r\nb\n",
        "end": b"ok\n",
    }
    facts = parse(values, others=3)
    assert facts == Facts(
        version="1.0.10",
        path="/etc/iotedge/config.yaml",
        kind="file",
        mode="iotedge:iotedge 400",
        content=b"provisioning:\n",
        hashes=("absent", "0a1b", "other"),
        modified=1700000000,
        now=1700000100,
        started=1700000050,
        unit=Unit(
            name="iotedge.service",
            load_state="loaded",
            active_state="failed",
            sub_state="failed",
            result="exit-code",
            exec_main_status=153,
            restarts=2,
        ),
        services=(
            Unit(
                name="docker.service",
                load_state="loaded",
                active_state="active",
                sub_state="running",
                result="success",
            ),
        ),
        modules=MODULES,
        journal="a\nb",
    )
    assert (facts.engine, facts.agent_image) == (facts.services[0], "mcr.microsoft.com/azureiotedge-agent:1.0")


def test_the_least_answer_becomes_empty_facts() -> None:
    """A machine without systemd and without IoT Edge is still a machine that answered."""
    facts = parse(said())
    assert facts == Facts(version="", path="", kind="absent", mode="", content=None, unit=Unit(), modules=())
    assert (facts.sha256, facts.engine, facts.agent_image, facts.taken) == ("absent", None, "", True)


@pytest.mark.parametrize("missing", ["end", "kind"])
def test_a_cut_answer_is_refused(missing: str) -> None:
    """Half an answer must not pass for a device without this or that."""
    values = said()
    del values[missing]
    with pytest.raises(ValueError, match="cut short"):
        parse(values)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param(b"iotedge 1.1.15\n", "1.1.15", id="plain"),
        pytest.param(b"iotedge 1.1.15\r\n", "1.1.15", id="Windows' line ends"),
        pytest.param(b"iotedge 1.0.10 (8bb4bcc0d1a2)\n", "1.0.10", id="with a commit"),
        pytest.param(b"iotedge 1.0.10.4\n", "1.0.10.4", id="four numbers"),
        pytest.param(b"iotedge 1.5.0~rc1\n", "1.5.0~rc1", id="a candidate"),
        pytest.param(b"iotedge 1.5.44-1\n", "1.5.44-1", id="a package's version"),
        pytest.param(b"iotedge 1.4.33-1~ubuntu22.04.1\n", "1.4.33-1", id="a package's version for one distribution"),
        pytest.param(b"", "", id="no runtime"),
        pytest.param(b"sh: 1: iotedge: not found\n", "", id="a complaint"),
        pytest.param(b"\xff\xfe", "", id="no text"),
        pytest.param(b"iotedge 12345.1\n", "", id="a number that no version has"),
        pytest.param(b"iotedge 1.2.3.4.5.6\n", "", id="more numbers than a version has"),
        pytest.param("iotedge \u0661.\u0661\n".encode(), "", id="digits of another script"),
        pytest.param(b"iotedge 1.1-" + b"9" * 100, "1.1", id="longer than a status may be"),
    ],
)
def test_the_version_is_found_in_what_iotedge_prints(text: bytes, version: str) -> None:
    """Only a dotted number is a version, and what is one can be read by the editor."""
    assert parse(said(version=text)).version == version
    assert not version or config.Version.parse(version)


def modules(*rows: str) -> bytes:
    """What `iotedge list` prints."""
    return "\n".join(["NAME             STATUS           DESCRIPTION      Config", *rows]).encode()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b"", (), id="nothing"),
        pytest.param(modules(), (), id="the header only"),
        pytest.param(modules("lonely"), (), id="a row with a name only"),
        pytest.param(
            b"NAME STATUS\n\xff\xfe running\n", (Module(name="\ufffd\ufffd", status="running"),), id="no text"
        ),
        pytest.param(
            LIST.replace(b"\n", b"\r\n"),
            MODULES,
            id="Windows' line ends",
        ),
        pytest.param(
            modules("a failed Failed (137) an hour ago img", "b dead x", "c unknown Up 2 hours img", "d \x1b[31mred x"),
            (
                Module(name="a", status="failed"),
                Module(name="b", status="dead"),
                Module(name="c", status="unknown"),
                Module(name="d", status="unknown"),
            ),
            id="states, and what is none",
        ),
        pytest.param(
            modules("Up running Stopped Up"), (Module(name="Up", status="running"),), id="a module with an odd name"
        ),
    ],
)
def test_lists_of_modules_are_read_as_far_as_they_go(text: bytes, found: tuple[Module, ...]) -> None:
    """A row needs a name and a status."""
    assert parse(said(modules=text)).modules == found


@pytest.mark.parametrize(
    ("description", "seconds"),
    [
        ("Up 12 seconds", 11),
        ("Up 12 seconds, 345 ms, 678 \u00b5s and 901 ns", 11),
        ("Up a minute", 30),
        ("Up 5 minutes", 270),
        ("Up an hour", 1800),
        ("Up 2 hours", 5400),
        ("Up a day", 43200),
        ("Up 2 weeks", 907200),
        ("Up a month", 1296000),
        ("Up a year", 15768000),
        ("Up now", None),
        ("Up 0 seconds", 0),
        ("Up", None),
        ("Up 12345678 minutes", None),
        ("Up 5 fortnights", None),
        ("", None),
    ],
)
def test_how_long_a_module_runs_at_least(description: str, seconds: int | None) -> None:
    """The words round: half a unit may be missing. Where they do not tell, nothing is guessed."""
    found = parse(said(modules=modules(f"edgeAgent running {description} img"))).modules
    assert found == (Module(name="edgeAgent", status="running", up_seconds=seconds),)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        pytest.param(b"", [Unit()], id="no systemd"),
        pytest.param(b"ExecMainStatus=\nNRestarts=many\n", [Unit()], id="numbers that are none"),
        pytest.param(b"ExecMainStartTimestampMonotonic=10123456\n", [Unit(started="10123456")], id="a start"),
        pytest.param(b"ExecMainStartTimestampMonotonic=1 2\n", [Unit()], id="no start that could be compared"),
        pytest.param(b"ExecMainStartTimestampMonotonic=" + b"1" * 21, [Unit()], id="a start that is too long"),
        pytest.param(b"ExecMainStatus=-1\n", [Unit()], id="a negative number"),
        pytest.param(b"ExecMainStatus=3221225786\n", [Unit(exec_main_status=3221225786)], id="a status of Windows"),
        pytest.param(b"ExecMainStatus=99999999999\n", [Unit()], id="a number that no status has"),
        pytest.param(b"ActiveState=a=b\n", [Unit()], id="no word of systemd's"),
        pytest.param(b"ActiveState=\x1b[31mactive\n", [Unit()], id="what a terminal obeys"),
        pytest.param(b"ActiveState=active\x00\n", [Unit()], id="a NUL"),
        pytest.param(b"garbage\n=\n", [Unit()], id="lines of another kind"),
        pytest.param(b"\n\n  \nId=a.service\n \n\r\nId=b.service\n\n", [Unit(name="a.service"), Unit(name="b.service")], id="two units"),
        pytest.param(
            FAILED.replace(b"\n", b"\r\n") + b"\r\n" + NO_DOCKER.replace(b"\n", b"\r\n"),
            [
                Unit(
                    name="iotedge.service",
                    load_state="loaded",
                    active_state="failed",
                    sub_state="failed",
                    result="exit-code",
                    exec_main_status=153,
                    restarts=2,
                ),
                Unit(
                    name="docker.service",
                    load_state="not-found",
                    active_state="inactive",
                    sub_state="dead",
                    result="success",
                ),
            ],
            id="Windows' line ends",
        ),
    ],
)  # fmt: skip
def test_units_are_read_as_far_as_they_go(text: bytes, units: list[Unit]) -> None:
    """What cannot be read has its default."""
    facts = parse(said(units=text))
    assert [facts.unit, *facts.services] == units


@pytest.mark.parametrize(
    ("names", "engine"),
    [
        (["docker.service"], "docker.service"),
        (["aziot-identityd.service", "docker.service"], "docker.service"),
        (["iotedge-moby"], "iotedge-moby"),
        (["com.docker.service"], "com.docker.service"),
        (["aziot-identityd.service"], None),
        ([], None),
    ],
)
def test_which_unit_is_the_container_engine(names: list[str], engine: str | None) -> None:
    """Where it is loaded; where another is in use there is none."""
    units = "\n\n".join(["Id=x", *(f"Id={name}\nLoadState=loaded" for name in names)]).encode()
    for text, expected in ((units, engine), (units.replace(b"loaded", b"not-found"), None)):
        found = parse(said(units=text)).engine
        assert (found.name if found else None) == expected


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"C:\\ProgramData\\iotedge\\config.yaml\r\n", "C:\\ProgramData\\iotedge\\config.yaml"),
        (b"/var/snap/azure-iot-edge/x1/etc/config.toml", "/var/snap/azure-iot-edge/x1/etc/config.toml"),
        (b"/" + b"x" * 254, "/" + "x" * 254),
        (b"", ""),
        (b"/" + b"x" * 255, None),
        (b"/etc/x\x00\x1b[31m.yaml", None),
        (b"/etc/x.yaml\nsecond line", None),
        (b"/etc/x.yaml'; curl evil", None),
        ("/etc/\u00e4.yaml".encode(), None),
        (b"/etc/\xff.yaml", None),
    ],
)
def test_a_path_may_be_shown_to_people(path: bytes, shown: str | None) -> None:
    """It is part of messages, so an answer with anything else in its place is none."""
    if shown is None:
        with pytest.raises(ValueError, match="is no path"):
            parse(said(path=path))
    else:
        assert parse(said(path=path)).path == shown


@pytest.mark.parametrize(
    ("taken", "expected"), [(b"yes\n", True), (b"no\n", False), (b"no\r\n", False), (b"", True), (None, True)]
)
def test_whether_the_services_have_the_file(taken: bytes | None, expected: bool) -> None:
    """Where nobody says otherwise they have it: 1.1 knows no such thing."""
    assert parse(said(**({} if taken is None else {"taken": taken}))).taken is expected


@pytest.mark.parametrize(
    ("text", "time"),
    [(b"1700000000\n", 1700000000), (b"", None), (b"soon", None), (b"-5", None), (b"1.5", None), (b"9" * 13, None)],
)
def test_times_are_whole_seconds(text: bytes, time: int | None) -> None:
    """What is none is not known."""
    facts = parse(said(now=text, started=text, modified=text))
    assert (facts.now, facts.started, facts.modified) == (time, time, time)


def test_facts_do_not_show_the_file_in_their_repr() -> None:
    """It holds a key, and so may the log; logs and tracebacks show reprs."""
    secret = b"SharedAccessKey=hush"
    facts = parse(said(kind=b"file", content=secret, template=secret, journal=secret))
    assert "hush" not in repr(facts)
    assert facts.sha256 == hashlib.sha256(secret).hexdigest()


NAMES = st.sampled_from(
    [
        "version",
        "path",
        "kind",
        "mode",
        "about",
        "content",
        "readable",
        "missing",
        "taken",
        "hash:0",
        "units",
        "now",
        "modules",
        "journal",
        "end",
    ]
)
WORDS = st.sampled_from([LIST, FAILED, DOCKER, b"\r\n", b"\n\n", b"Up ", b"=", b"1.1", b"\x00"])
TEXTS = st.lists(st.binary() | WORDS).map(b"".join)


@given(st.dictionaries(NAMES, TEXTS), st.integers(0, 3))
def test_any_values_are_facts_or_refused(values: dict[str, bytes], others: int) -> None:
    """Nothing but ValueError, and what may be shown is short and printable."""
    with contextlib.suppress(ValueError):
        facts = parse(values, others=others)
        shown = [facts.version, facts.path, facts.kind, facts.mode, facts.unit.name, facts.unit.active_state]
        assert all(text.isprintable() and len(text) <= 4096 for text in shown)
        assert len(facts.path) <= 255
        assert len(facts.hashes) == others


@given(st.binary() | st.lists(st.binary() | st.just(NONCE.encode() + b" ") | st.just(b"\n")).map(b"".join))
def test_any_output_has_some_values(output: bytes) -> None:
    """None of it breaks anything."""
    assert isinstance(framed(output, NONCE), dict)
    assert isinstance(sections(output, NONCE), dict)


def test_more_than_a_script_says_is_not_looked_at() -> None:
    """A device may send a megabyte of anything."""
    values = {
        "end": b"ok",
        "kind": b"file",
        "units": b"Id=a.service\n\n" * 100_000,
        "modules": b"NAME\n" + b"m running\n" * 100_000,
        "journal": b"old\n" * 100_000 + b"new!",
        "version": b"x" * 9_000 + b" 1.1.15",
    }
    found = parse(values)
    assert (len(found.services), len(found.modules), len(found.journal), found.version) == (16, 200, 32 * 1024, "")
    assert found.journal.endswith("new!")
    many = b"".join(line(f"a{number}", b"x") for number in range(1_000))
    assert len(framed(many, NONCE)) == 256
    many = b"".join(section(f"a{number}", b"x") for number in range(1_000))
    assert len(sections(many, NONCE)) == 255


@pytest.mark.parametrize(
    ("last", "image"),
    [
        ("agent:1.5.44", "agent:1.5.44"),
        ("registry.example:5000/a/agent", "registry.example:5000/a/agent"),
        (f"agent@sha256:{'0a' * 32}", f"agent@sha256:{'0a' * 32}"),
        ("agent", ""),
        ("ago", ""),
        ("-v:/x", ""),
        ("a:<b>", ""),
        ("a:\u00e4", ""),
        (f"a:{'b' * 254}", ""),
    ],
    ids=lambda value: value[:40],
)
def test_an_image_is_the_last_column_that_looks_like_one(last: str, image: str) -> None:
    """The row is the device's own text, and the image gets into the status."""
    (found,) = parse(said(modules=modules(f"edgeAgent running Up 5 minutes {last}"))).modules
    assert found == Module(name="edgeAgent", status="running", up_seconds=270, image=image)
