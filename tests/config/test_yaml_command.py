"""`edgeherd config check|set|diff|repair` on config.yaml: exit statuses, what is said, and what is written."""

import json
import os
import pwd
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from yaml_samples import DEBIAN, KEY, OLD, OLD_KEY, PLACEHOLDER, PLAIN, STRING, changed

import processes
from edgeherd.config.command import group

FILLED = DEBIAN.replace(PLACEHOLDER.encode(), STRING.encode())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A device's file, in a folder of its own, closed as the package closes it."""
    path = tmp_path / "etc" / "config.yaml"
    path.parent.mkdir()
    path.write_bytes(DEBIAN)
    path.chmod(0o400)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file with a connection string, as an editor leaves it: with a newline."""
    path = tmp_path / "string"
    path.write_text(STRING + "\n")
    return str(path)


def run(*args: str | Path) -> Result:
    """The command in this process. Neither stream ever has a key, whole files on stdout apart."""
    result = CliRunner().invoke(group, [str(arg) for arg in args])
    for key in (KEY, OLD_KEY.rstrip("=")):
        assert key not in result.stderr
        assert key not in result.stdout or (args[0] in {"set", "repair"} and "--in-place" not in args)
    return result


def put(file: Path, content: bytes) -> None:
    """Other content for a file that is read-only."""
    file.chmod(0o600)
    file.write_bytes(content)
    file.chmod(0o400)


def test_check_of_a_fresh_file_says_what_is_to_be_done(file: Path) -> None:
    """The line, the rule, a verdict; and exit status 1, because the daemon refuses it."""
    result = run("check", file, "--runtime", "1.0.10")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == (
        f"{file}:33: error: The connection string still is the template's placeholder. Put the device's own in. "
        "[connection-string-placeholder]\n"
        "IoT Edge 1.0.10 refuses this file; edgeherd edits it.\n"
    )


@pytest.mark.parametrize(
    ("content", "status", "valid", "editable", "problems"),
    [
        pytest.param(FILLED, 0, True, True, [], id="valid and editable"),
        pytest.param(DEBIAN, 1, False, True, [(33, "error", "connection-string-placeholder")], id="not valid"),
        pytest.param(
            FILLED + f'provisioning: {{device_connection_string: "{OLD}"}}\n'.encode(),
            1,
            True,
            False,
            [(185, "warning", "duplicate-key")],
            id="not editable",
        ),
        pytest.param(b"\xff\xfe", 1, False, False, [(1, "error", "encoding")], id="neither"),
    ],
)
def test_check_speaks_json(
    file: Path, content: bytes, status: int, problems: list[tuple[int, str, str]], *, valid: bool, editable: bool
) -> None:
    """Three keys; each problem has four."""
    put(file, content)
    result = run("check", file, "--output", "json")
    said = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (status, "")
    assert [sorted(problem) for problem in said["problems"]] == [["line", "message", "rule", "severity"]] * len(
        problems
    )
    said["problems"] = [(problem["line"], problem["severity"], problem["rule"]) for problem in said["problems"]]
    assert said == {"valid": valid, "editable": editable, "problems": problems}


def test_set_writes_to_stdout_and_leaves_the_file(file: Path, secret: str) -> None:
    """Without --in-place it is a filter."""
    result = run("set", file, "--connection-string-file", secret)
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, FILLED, "")
    assert file.read_bytes() == DEBIAN


def test_set_in_place_replaces_the_file_whole(file: Path, secret: str) -> None:
    """A new file under the old name, with its mode; the changes are said, masked; nothing is left behind."""
    before = file.stat()
    result = run("set", file, "--connection-string-file", secret, "--hostname", "press-01", "--in-place")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        f"Change: provisioning.device_connection_string: {PLACEHOLDER} -> {STRING.removesuffix(KEY)}***",
        "Change: hostname: <ADD HOSTNAME HERE> -> press-01",
    ]
    after = file.stat()
    assert file.read_bytes() == FILLED.replace(b"<ADD HOSTNAME HERE>", b"press-01")
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (0o400, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_set_in_place_keeps_the_owner(file: Path, secret: str) -> None:
    """A file that root would own is one that the daemon's user could not read."""
    other = pwd.getpwnam("nobody")
    os.chown(file, other.pw_uid, other.pw_gid)
    assert run("set", file, "--connection-string-file", secret, "--in-place").exit_code == 0
    after = file.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (other.pw_uid, other.pw_gid, 0o400)


def test_set_in_place_follows_a_link(file: Path, secret: str, tmp_path: Path) -> None:
    """The link stays one, and its target is edited."""
    link = tmp_path / "config.yaml"
    link.symlink_to(file)
    assert run("set", link, "--connection-string-file", secret, "--in-place").exit_code == 0
    assert link.is_symlink()
    assert file.read_bytes() == FILLED


@pytest.mark.parametrize("command", ["set", "repair"])
def test_nothing_is_written_when_nothing_changes(command: str, file: Path, secret: str) -> None:
    """The same file, the same time: nobody restarts a daemon for it."""
    put(file, FILLED)
    before = file.stat()
    options = ["--connection-string-file", secret] if command == "set" else []
    result = run(command, file, *options, "--in-place")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == ("" if command == "set" else "nothing had to be fixed\n")
    assert file.stat() == before or (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_write_that_fails_leaves_the_old_file(file: Path, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: the old file stays, and no other beside it."""

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run("set", file, "--connection-string-file", secret, "--in-place").exit_code == 1
    assert file.read_bytes() == DEBIAN
    assert list(file.parent.iterdir()) == [file]


def test_diff_is_masked_and_ends_with_0(file: Path, secret: str) -> None:
    """The file stays; a second diff after the edit is empty."""
    put(file, changed(PLAIN, (STRING, OLD)).encode())
    result = run("diff", file, "--connection-string-file", secret)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line for line in result.stdout.splitlines() if line.startswith(("-", "+"))] == [
        f"--- {file} (before)",
        f"+++ {file} (after)",
        f'-  device_connection_string: "{OLD.removesuffix(OLD_KEY)}***"',
        f'+  device_connection_string: "{STRING.removesuffix(KEY)}***"',
    ]
    put(file, PLAIN.encode())
    assert run("diff", file, "--connection-string-file", secret).output == ""


def test_repair_says_what_it_mended(file: Path) -> None:
    """On stderr; the file goes to stdout, or into the file."""
    put(file, b"\xef\xbb\xbf" + FILLED)
    result = run("repair", file)
    said = "line 1: the byte order mark was removed\n"
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, FILLED, said)
    result = run("repair", file, "--in-place")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", said)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (FILLED, 0o400)


@pytest.mark.parametrize(
    ("content", "string", "message"),
    [
        pytest.param(DEBIAN, f"{STRING};ModuleId=m", "The connection string is that of a module.", id="a module's string"),
        pytest.param(DEBIAN, STRING.replace("Key=", 'Key="') + '"', "SharedAccessKey of the connection string is not base64", id="quotation marks within it"),
        pytest.param(DEBIAN, f"{STRING}\n{OLD}\n", "There is more than one connection string.", id="two of them"),
        pytest.param(DEBIAN, "", "The connection string is empty.", id="an empty string"),
        pytest.param(FILLED + b"x: [\n", OLD, "line 185: The file is not YAML:", id="a file that is broken"),
        pytest.param(b"\xef\xbb\xbf" + FILLED, OLD, "line 1: The file begins with a byte order mark", id="a BOM"),
    ],
)  # fmt: skip
def test_a_refusal_ends_with_1_and_writes_nothing(
    content: bytes, string: str, message: str, file: Path, secret: str
) -> None:
    """One sentence on stderr, none of it the secret."""
    put(file, content)
    Path(secret).write_text(string)
    for command in ("set", "diff"):
        options = ["--in-place"] if command == "set" else []
        result = run(command, file, "--connection-string-file", secret, *options)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: {message}")
        assert file.read_bytes() == content


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["check", "missing.yaml"], id="a file that is not there"),
        pytest.param(["check", "FILE", "--runtime", "new"], id="no version"),
        pytest.param(["check", "FILE", "--output", "xml"], id="no such output"),
        pytest.param(["set", "FILE"], id="no connection string"),
        pytest.param(["set", "FILE", "--connection-string", STRING], id="the string as an argument"),
        pytest.param(["fix", "FILE"], id="no such command"),
    ],
)
def test_a_wrong_call_ends_with_2(args: list[str], file: Path) -> None:
    """A usage message, and nothing happens."""
    result = run(*(str(file) if arg == "FILE" else arg for arg in args))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")


def test_the_program_itself(file: Path, secret: str) -> None:
    """Once as people call it: set, then check."""
    edgeherd = [sys.executable, "-m", "edgeherd", "config"]
    call = [*edgeherd, "set", file, "--connection-string-file", secret, "--in-place"]
    done = processes.run(call)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode().startswith("Change: provisioning.device_connection_string: ")
    assert KEY.encode() not in done.stderr
    assert file.read_bytes() == FILLED
    done = processes.run([*edgeherd, "check", file])
    assert (done.returncode, done.stdout) == (0, b"IoT Edge 1.1.15 takes this file; edgeherd edits it.\n")
