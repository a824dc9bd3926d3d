"""The commands that this package adds to `edgeherd` (entry-point group `edgeherd.commands` in pyproject.toml).

Listing them imports nothing of the stand-ins.
"""

import importlib
from typing import Any

import click


class _Lazy(click.Command):
    """A command whose module is imported when it is run: nobody pays for the stand-ins but who uses them."""

    def __init__(self, name: str, module: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._module = module

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command in the module: click parses and runs what the context belongs to."""
        try:
            command = importlib.import_module(self._module).command
        except ModuleNotFoundError as exc:
            if (exc.name or "").startswith("edgeherd"):
                raise
            raise click.ClickException(f"'{self.name}' needs more packages: pip install 'edgeherd[sim]'") from exc
        assert isinstance(command, click.Command)  # noqa: S101 - each of these modules has one
        return command.make_context(info_name, args, parent, **extra)


demo = _Lazy("demo", "edgeherd_sim.demo.command", "Show the whole product on this machine.")

sim = click.Group(
    "sim",
    help="Stand-ins that speak the real protocols, for demos, tests and drills.",
    short_help="Stand-ins for hub, devices and API server.",
    commands=[
        _Lazy("hub", "edgeherd_sim.hub.command", "An IoT Hub registry emulator."),
        _Lazy("devices", "edgeherd_sim.devices.command", "IoT Edge devices behind SSH."),
        _Lazy("kube", "edgeherd_sim.kube.command", "A Kubernetes API simulator."),
    ],
)
