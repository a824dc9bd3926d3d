"""The command line: the operator itself, its file editor without a cluster, and the stand-ins."""

import asyncio
import importlib
import sys

import click

from edgeherd import __version__

_COMMANDS = {
    "run": ("edgeherd.cli", "run", "Run the operator."),
    "config": ("edgeherd.config.command", "group", "Check and edit the daemon's file without a cluster."),
    "hub": ("edgeherd.hubtool.command", "group", "See a hub's devices, and import them."),
    "demo": ("edgeherd_sim.demo.command", "command", "Show the whole product on this machine."),
    "sim": ("edgeherd.cli", "sim", "Stand-ins for hub, devices and API server."),
}
_STAND_INS = {
    "hub": ("edgeherd_sim.hub.command", "command", "An IoT Hub registry emulator."),
    "devices": ("edgeherd_sim.devices.command", "command", "IoT Edge devices behind SSH."),
    "kube": ("edgeherd_sim.kube.command", "command", "A Kubernetes API simulator."),
}


class _Lazy(click.Group):
    """Imports a command's module when the command is asked for: nobody pays for the stand-ins but who uses them."""

    def __init__(self, *args: object, commands_in: dict[str, tuple[str, str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._where = commands_in

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group`."""
        del ctx
        return list(self._where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group`."""
        del ctx
        if cmd_name not in self._where:
            return None
        module, attribute, _ = self._where[cmd_name]
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as exc:
            if (exc.name or "").startswith("edgeherd"):
                raise
            raise click.ClickException(f"'{cmd_name}' needs more packages: pip install 'edgeherd[sim]'") from exc
        assert isinstance(command, click.Command)  # noqa: S101 - the tables above name commands only
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, _, help_) in self._where.items()])


@click.group(cls=_Lazy, commands_in=_COMMANDS)
@click.version_option(__version__)
def main() -> None:
    """Set up Azure IoT Edge devices from one manifest."""


@click.group(cls=_Lazy, commands_in=_STAND_INS)
def sim() -> None:
    """Stand-ins that speak the real protocols, for demos, tests and drills."""


@click.command()
def run() -> None:
    """Run the operator.

    It reads KUBECONFIG (or the Pod's ServiceAccount), EDGEHERD_NAMESPACE (where the Secrets of HubConnections are),
    EDGEHERD_WORKERS (passes at once) and EDGEHERD_LOG_LEVEL.
    """
    from edgeherd.cluster.errors import ApiError  # noqa: PLC0415 - the other commands need no cluster
    from edgeherd.run import run as run_operator  # noqa: PLC0415 - the same
    from edgeherd.settings import Settings  # noqa: PLC0415 - the same

    try:
        asyncio.run(run_operator(Settings.from_environment()))
    except (ApiError, ValueError) as exc:
        click.echo(f"edgeherd: {exc}", err=True)
        sys.exit(1)
