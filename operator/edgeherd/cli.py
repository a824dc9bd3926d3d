"""The command line: the operator itself, its file editor without a cluster, and what installed packages add."""

import asyncio
import importlib
import importlib.metadata
import logging
import sys
from typing import NoReturn

import click

from edgeherd import __version__

ENTRY_POINTS = "edgeherd.commands"
"""The entry-point group by which a package adds a command. It names a `click.Command`, which is loaded whenever the
commands are listed: what it needs should be imported only when it is run."""

_COMMANDS = {
    "run": ("edgeherd.cli", "run", "Run the operator."),
    "config": ("edgeherd.config.command", "group", "Check and edit the daemon's file without a cluster."),
    "hub": ("edgeherd.hubtool.command", "group", "See a hub's devices, and import them."),
    "device": ("edgeherd.hubtool.device_command", "group", "Import a device as it is, over SSH."),
}


class _Commands(click.Group):
    """The operator's own commands, each imported when it is asked for, and after them those of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group`."""
        del ctx
        return [*_COMMANDS, *_added()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group`."""
        del ctx
        if cmd_name not in _COMMANDS:
            return _added().get(cmd_name)
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above names commands only
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing the operator's own."""
        del ctx
        own = [(name, help_) for name, (_, _, help_) in _COMMANDS.items()]
        added = [(name, command.get_short_help_str()) for name, command in _added().items()]
        with formatter.section("Commands"):
            formatter.write_dl([*own, *added])


def _added() -> dict[str, click.Command]:
    """The commands of other packages, by name.

    An installation may name a package that it does not have: the image is built from the same `pyproject.toml` as
    everything, but from the operator's folder alone. Such a command is not there.
    """
    added = {}
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS)):
        try:
            added[entry.name] = entry.load()
        except ModuleNotFoundError as exc:
            if not f"{entry.module}.".startswith(f"{exc.name}."):
                raise
    return added


@click.group(cls=_Commands)
@click.version_option(__version__)
def main() -> None:
    """Set up Azure IoT Edge devices from one manifest."""


@click.command()
def run() -> None:
    """Run the operator.

    It reads KUBECONFIG (or the Pod's ServiceAccount), EDGEHERD_NAMESPACE (where the Secrets of HubConnections are),
    EDGEHERD_WATCH_NAMESPACES (the only ones whose EdgeDevices it looks after), EDGEHERD_LEADER_ELECTION (true where more
    than one process may run), EDGEHERD_LOG_LEVEL, EDGEHERD_LOG_FORMAT, EDGEHERD_METRICS_ADDRESS, EDGEHERD_PROBE_ADDRESS,
    and numbers that say how namespaces share it: EDGEHERD_WORKERS, EDGEHERD_RESERVED_WORKERS, EDGEHERD_SLOW_WORKERS,
    EDGEHERD_PASSES_PER_JUMP_HOST.
    """
    from edgeherd.cluster.errors import ApiError  # noqa: PLC0415 - the other commands need no cluster
    from edgeherd.cluster.lease import LeaseLostError  # noqa: PLC0415 - the same
    from edgeherd.controller.source import NoWatchError  # noqa: PLC0415 - the same
    from edgeherd.run import run as run_operator  # noqa: PLC0415 - the same
    from edgeherd.settings import Settings  # noqa: PLC0415 - the same

    try:
        settings = Settings.from_environment()
    except ValueError as exc:
        _end(str(exc))
    try:
        asyncio.run(run_operator(settings))
    except (ApiError, LeaseLostError, NoWatchError, OSError) as exc:
        _end(str(exc))
    except Exception:
        logging.getLogger(__name__).exception("a bug ends the operator")
        sys.exit(1)


def _end(why: str) -> NoReturn:
    """In one sentence: what is wrong is outside of the operator."""
    click.echo(f"edgeherd: {why}", err=True)
    sys.exit(1)
