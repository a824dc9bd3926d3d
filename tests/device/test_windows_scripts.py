"""The Windows scripts: their text, their parameters, and whether they can be PowerShell at all; none runs here."""

import base64
import os
import pathlib
import re
from collections.abc import Iterator

import pytest
import tree_sitter
import tree_sitter_powershell
import windows_lab
from hypothesis import given
from hypothesis import strategies as st
from windows_lab import CONFIG, Name

from edgeherd.device import windows
from edgeherd.device.port import ABSENT, Action, Change, Initialization, OtherFile, Owner, Query

GOLDEN = pathlib.Path(__file__).parent / "golden"
SCRIPTS = ["bootstrap", *(name.value for name in Name)]

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), max_size=300)
NASTY = st.sampled_from(
    ["$env:X", "$(calc)", "`", "'; calc; '", '"', "%PATH%", "^&|<>", "é漢", "\u2019", "\u0085", " "]
)
PARAMETER = TEXT | st.lists(NASTY | TEXT, max_size=5).map("".join)
PATH = PARAMETER.filter(bool)

GIVEN = {"$_", "$true", "$false", "$null", "$matches", "$env:programfiles", "$env:programdata", "$stdin", "$nonce"}
"""Variables that PowerShell or the bootstrap sets."""
AUTOMATIC = {
    f"${name}"
    for name in [
        "args",
        "error",
        "event",
        "foreach",
        "home",
        "host",
        "input",
        "pid",
        "profile",
        "pwd",
        "sender",
        "switch",
        "this",
    ]
}
"""Names that would collide with PowerShell's own."""
CMDLETS = {
    "ForEach-Object",
    "Get-ChildItem",
    "Get-CimInstance",
    "Get-Command",
    "Get-Date",
    "Get-ExecutionPolicy",
    "Get-Process",
    "Get-Service",
    "Get-WinEvent",
    "Import-Module",
    "Initialize-IoTEdge",
    "Join-Path",
    "New-Object",
    "Remove-Item",
    "Select-Object",
    "Set-ExecutionPolicy",
    "Sort-Object",
    "Start-Sleep",
    "Where-Object",
}
"""All are in Windows PowerShell 5.1, but for Initialize-IoTEdge, which is IoT Edge's."""


def text(name: str) -> str:
    """The decoded bootstrap, or the script of an command."""
    if name == "bootstrap":
        return windows_lab.bootstrap(windows.COMMAND)
    return windows_lab.script(windows_lab.commands()[Name(name)])


def change(**other: object) -> Change:
    """A change, with something different."""
    usual: dict[str, object] = {
        "path": CONFIG,
        "before": ABSENT,
        "content": b"",
        "unit": "iotedge",
        "action": Action.RESTART,
    }
    return Change(**{**usual, **other})  # type: ignore[arg-type]


def nodes(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    """The node and all below it."""
    yield node
    for child in node.children:
        yield from nodes(child)


def parsed(name: str) -> list[tree_sitter.Node]:
    """All nodes of a script."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    return list(nodes(parser.parse(text(name).encode()).root_node))


def texts(found: list[tree_sitter.Node], kind: str) -> set[str]:
    """What nodes of one kind say."""
    return {(node.text or b"").decode() for node in found if node.type == kind}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_what_was_reviewed(name: str) -> None:
    """Run with EDGEHERD_GOLDEN=write to take over a change; then read the diff."""
    path = GOLDEN / f"windows-{name}.ps1"
    if os.environ.get("EDGEHERD_GOLDEN") == "write":
        path.write_text(text(name))
    assert text(name) == path.read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_parses(name: str) -> None:
    """By a grammar of PowerShell; this is no proof that PowerShell takes it, but a misplaced brace is found."""
    found = parsed(name)
    assert [(node.start_point, node.text) for node in found if node.type == "ERROR" or node.is_missing] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_ascii_and_older_than_powershell_7(name: str) -> None:
    """Windows has 5.1, which does not know the operators of 7."""
    assert text(name).isascii()
    operators = {node.type for node in parsed(name)}
    assert not operators & {"??", "?.", "?[", "??=", "&&", "||", "ternary_expression"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_calls_only_what_is_there(name: str) -> None:
    """Every command is a function of the script or a cmdlet of the list."""
    found = parsed(name)
    defined = texts(found, "function_name")
    called = texts(found, "command_name")
    assert called - defined - CMDLETS <= {"$setup"}, "a name is misspelt, or a cmdlet is new in the list"
    assert len(defined) == len({function.lower() for function in defined})


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_reads_only_variables_that_are_set(name: str) -> None:
    """A misspelt variable would be an empty one; one with a name of PowerShell's own would be overwritten."""
    found = parsed(name)
    used = {variable.lower().replace("@", "$") for variable in texts(found, "variable")}
    targets = texts(found, "left_assignment_expression") | texts(found, "script_parameter")
    targets |= {loop.partition(" in ")[0] for loop in texts(found, "foreach_statement")}
    assigned = {variable.lower() for target in targets for variable in re.findall(r"\$\w+", target)}
    assert used - assigned - GIVEN == set()
    assert not used & AUTOMATIC


def test_command_fits_every_shell() -> None:
    """cmd.exe and PowerShell read it the same: no quotes, nothing that either of them expands."""
    command = windows.COMMAND
    assert len(command) < windows.COMMAND_CHARACTERS / 2
    assert re.fullmatch(r"powershell\.exe( -[A-Za-z]+)+ [A-Za-z0-9+/]+={0,2}", command)


def test_command_is_the_same_for_every_errand() -> None:
    """All that differs goes through stdin."""
    assert {command.command for command in windows_lab.commands().values()} == {windows.COMMAND}


def test_bootstrap_leaves_stdin_to_the_script() -> None:
    """PowerShell reads stdin itself when a command names this variable."""
    assert "$input" not in text("bootstrap").lower()


def test_nothing_shows_in_a_repr() -> None:
    """Not even in base64."""
    command = windows.initialize(Initialization(connection_string="SharedAccessKey=c2VjcmV0", container_os="Windows"))
    encoded = base64.b64encode(b"SharedAccessKey=c2VjcmV0").decode()
    assert encoded in command.lines
    assert encoded not in repr(command)


@given(PARAMETER, st.lists(PATH, max_size=5))
def test_observe_hands_over_its_paths(path: str, others: list[str]) -> None:
    """Exactly, in order, and with an end."""
    command = windows.observe(Query(path=path, others=tuple(others)))
    assert command.command == windows.COMMAND
    assert windows_lab.script(command) == text("observe")
    assert [value.decode() for value in windows_lab.parameters(command)] == [path, *others, ""]


@given(PATH, st.binary(max_size=5000) | st.none(), st.sampled_from([Action.RESTART, Action.RETIRE, Action.NONE]))
def test_apply_hands_over_the_change(path: str, content: bytes | None, action: Action) -> None:
    """Exactly, down to the last byte of the content."""
    command = windows.apply(change(path=path, before="0" * 64, content=content, action=action, started="5"))
    assert command.command == windows.COMMAND
    assert windows_lab.script(command) == text("apply")
    *values, body = windows_lab.parameters(command)
    after = "-" if content is None else OtherFile(path="", before="", content=content, owner=Owner.ROOT, mode="").after
    assert [value.decode() for value in values] == [path, "0" * 64, after, "iotedge", action.value, "5"]
    assert body == (content or b"")


@given(PATH, st.sampled_from(["Windows", "Linux"]), PARAMETER)
def test_initialize_hands_over_the_connection_string(secret: str, system: str, setup: str) -> None:
    """Exactly, whatever it would mean to PowerShell."""
    initialization = Initialization(connection_string=secret, container_os=system, script=setup)
    command = windows.initialize(initialization)
    assert command.command == windows.COMMAND
    assert windows_lab.script(command) == text("initialize")
    assert [value.decode() for value in windows_lab.parameters(command)] == [secret, system, setup]


@given(TEXT, st.sampled_from("\n\r\0"), TEXT)
def test_line_breaks_are_refused(start: str, end_of_line: str, end: str) -> None:
    """Base64 would carry them, and the file would be broken by them."""
    broken = f"{start}{end_of_line}{end}"
    with pytest.raises(ValueError, match="line break"):
        windows.observe(Query(path=broken))
    with pytest.raises(ValueError, match="line break"):
        windows.observe(Query(others=(broken,)))
    with pytest.raises(ValueError, match="line break"):
        windows.apply(change(path=broken))
    with pytest.raises(ValueError, match="line break"):
        windows.initialize(Initialization(connection_string=broken, container_os="Windows"))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"others": (OtherFile(path="x", before=ABSENT, content=b"", owner=Owner.ROOT, mode="600"),)}, "other files"),
        ({"action": Action.CONFIG_APPLY}, "config apply"),
        ({"path": ""}, "no path"),
        ({"unit": "iotedge' or Name='x"}, "name of a service"),
        ({"unit": "iotedge\n"}, "name of a service"),
        ({"unit": ""}, "name of a service"),
    ],
)
def test_what_windows_does_not_have_is_refused(asked: dict[str, object], why: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=why):
        windows.apply(change(**asked))


def test_empty_parameters_that_would_shift_the_others_are_refused() -> None:
    """An empty one is an end."""
    with pytest.raises(ValueError, match="no path"):
        windows.observe(Query(others=("a", "")))
    with pytest.raises(ValueError, match="missing"):
        windows.initialize(Initialization(connection_string="", container_os="Windows"))
    with pytest.raises(ValueError, match="missing"):
        windows.initialize(Initialization(connection_string="c", container_os=""))
