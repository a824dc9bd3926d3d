"""`edgeherd config`: the editor for people, without a cluster."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator

import click

from edgeherd.config import dialects, editor
from edgeherd.config.values import ConfigError, Dialect, Edit, Version, Wanted
from edgeherd.connection_text import SeveralStringsError, connection_string_in

_FILE = click.argument("file", type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False))


class _VersionType(click.ParamType[Version]):
    name = "version"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Version:
        if isinstance(value, Version):
            return value
        try:
            return Version.parse(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


_RUNTIME = click.option(
    "--runtime",
    type=_VersionType(),
    default=None,
    help="The version of IoT Edge on the device, as 'iotedge version' says it. When left out, 1.1.15 for a config.yaml and "
    "1.5.44 for a config.toml: name and content of FILE tell which it is.",
)
_USUAL = {Dialect.YAML: Version.parse("1.1.15"), Dialect.TOML: Version.parse("1.5.44")}
_CONNECTION = click.option(
    "--connection-string-file",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    required=True,
    help="A file that holds the device's connection string. No option takes the string itself: it would show in ps.",
)
_HOSTNAME = click.option("--hostname", help="What the file shall say as hostname.")


_UNJUDGED = 3


def _version(file: pathlib.Path, runtime: Version | None) -> Version:
    """The version that judges and edits a file.

    Raises:
        ClickException: its name says that another version reads it, or neither name nor content says which does.
    """
    named = dialects.of_name(file)
    if runtime is not None:
        if named not in {None, runtime.dialect}:
            message = (
                f"{file} is a {_NAMES[named]} by its name, and IoT Edge {runtime} reads a {_NAMES[runtime.dialect]}."
            )
            raise click.ClickException(f"{message} Give the other --runtime, or the other file.")
        return runtime
    found = dialects.of_content(file.read_bytes().decode("utf-8", "replace"))
    dialect = named or found
    if dialect is None:
        raise click.ClickException(f"Neither name nor content of {file} says which version reads it. Give --runtime.")
    return _USUAL[dialect]


_NAMES: dict[Dialect | None, str] = {Dialect.YAML: "config.yaml", Dialect.TOML: "config.toml"}


@click.group()
def group() -> None:
    """Check and edit the daemon's configuration file, without a cluster."""


@group.command()
@_FILE
@_RUNTIME
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(file: pathlib.Path, runtime: Version | None, output: str) -> None:
    """Say whether the daemon takes FILE, and whether edgeherd would edit it.

    Exits with 0 when both hold, 1 when one does not, and 3 when nothing is wrong that can be seen in FILE, but the daemon's
    verdict hangs on another file too.
    """
    runtime = _version(file, runtime)
    verdict = editor.check(file.read_bytes(), version=runtime)
    if output == "json":
        click.echo(json.dumps(dataclasses.asdict(verdict), indent=2))
    else:
        for problem in verdict.problems:
            where = f"{file}:{problem.line}" if problem.line else str(file)
            severity = "not judged" if problem.severity == "unjudged" else problem.severity
            click.echo(f"{where}: {severity}: {problem.message} [{problem.rule}]")
        takes = {True: "takes this file", False: "refuses this file", None: "was not judged on all of this file"}
        edits = "edits" if verdict.editable else "does not edit"
        click.echo(f"IoT Edge {runtime} {takes[verdict.valid]}; edgeherd {edits} it.")
    if verdict.valid is None and verdict.editable:
        sys.exit(_UNJUDGED)
    sys.exit(0 if verdict.valid and verdict.editable else 1)


@group.command("set")
@_FILE
@_CONNECTION
@_RUNTIME
@_HOSTNAME
@click.option(
    "--in-place", is_flag=True, help="Write FILE, atomically, owner and mode kept. Nothing if nothing changes."
)
def set_(
    file: pathlib.Path,
    connection_string_file: pathlib.Path,
    runtime: Version | None,
    hostname: str | None,
    *,
    in_place: bool,
) -> None:
    """Put a connection string into FILE.

    The edited file goes to stdout; with --in-place it replaces FILE, and the changes go to stderr, secrets masked.
    """
    made = _edited(file, connection_string_file, _version(file, runtime), hostname)
    if in_place:
        for change in made.changes:
            click.echo(f"{change.action}: {change.path}: {change.before or '-'} -> {change.after or '-'}", err=True)
        _replace(file, made.content)
    else:
        sys.stdout.buffer.write(made.content)


@group.command()
@_FILE
@_CONNECTION
@_RUNTIME
@_HOSTNAME
def diff(
    file: pathlib.Path, connection_string_file: pathlib.Path, runtime: Version | None, hostname: str | None
) -> None:
    """Show what `set` would change: a unified diff, secrets masked. Exits with 0 whether or not there is one."""
    made = _edited(file, connection_string_file, _version(file, runtime), hostname)
    click.echo(editor.masked_diff(file.read_bytes(), made.content, name=str(file)), nl=False)


@group.command()
@_FILE
@_RUNTIME
@click.option("--in-place", is_flag=True, help="Write FILE, atomically, owner and mode kept.")
def repair(file: pathlib.Path, runtime: Version | None, *, in_place: bool) -> None:
    """Fix what hand edits leave behind: a BOM, spaces that are none, tabs, leading spaces, several active provisioning sections.

    The fixed file goes to stdout (or into FILE); what was fixed goes to stderr.
    """
    with _said():
        content, fixed = editor.repair(file.read_bytes(), version=_version(file, runtime))
    for sentence in fixed or ("nothing had to be fixed",):
        click.echo(sentence, err=True)
    if in_place:
        _replace(file, content)
    else:
        sys.stdout.buffer.write(content)


def _edited(file: pathlib.Path, connection_string_file: pathlib.Path, runtime: Version, hostname: str | None) -> Edit:
    try:
        text = connection_string_in(connection_string_file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise click.ClickException(f"{connection_string_file} is not UTF-8 text. Save it as UTF-8.") from None
    except SeveralStringsError as exc:
        raise click.ClickException(str(exc)) from None
    with _said():
        return editor.edit(file.read_bytes(), Wanted(connection_string=text, hostname=hostname), version=runtime)


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """An editor's refusal becomes the command's error."""
    try:
        yield
    except ConfigError as exc:
        raise click.ClickException(str(exc)) from None


def _replace(file: pathlib.Path, content: bytes) -> None:
    """Write whole and atomically; a reader sees the old file or the new one."""
    target = file.resolve()
    if target.read_bytes() == content:
        return
    before = target.stat()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".edgeherd.")
    temp = pathlib.Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if os.geteuid() == 0:
            shutil.chown(temp, before.st_uid, before.st_gid)
        temp.chmod(before.st_mode & 0o7777)
        temp.replace(target)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
