"""What the demo draws."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from edgeherd.reconcile.device import CONDITIONS

_MARKS = {"True": Text("✔", "bold green"), "False": Text("✘", "bold red"), "Unknown": Text("·", "dim")}


def conditions_of(device: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions of an EdgeDevice, by type."""
    return {c["type"]: c for c in device.get("status", {}).get("conditions", [])}


def is_ready(device: Mapping[str, Any]) -> bool:
    """Whether the EdgeDevice is Ready at its present generation."""
    ready = conditions_of(device).get("Ready", {})
    return ready.get("status") == "True" and ready.get("observedGeneration") == device["metadata"]["generation"]


def fleet(devices: Sequence[Mapping[str, Any]], *, title: str, seconds: float) -> Table:
    """One row for each device: what came of its steps, and what it waits for."""
    table = Table(box=box.SIMPLE_HEAD, title=f"{title} ({seconds:.1f} s)", title_justify="left", pad_edge=False)
    table.add_column("device")
    for step in ("identity", "secret", "reach", "config", "daemon"):
        table.add_column(step, justify="center")
    table.add_column("ready")
    table.add_column("reason", no_wrap=True)
    for device in devices:
        found = conditions_of(device)
        ready = found.get("Ready", {})
        marks = [_MARKS[found.get(type_, {}).get("status", "Unknown")] for type_ in CONDITIONS]
        state = Text("True", "bold green") if is_ready(device) else Text(ready.get("status", "Unknown"), "yellow")
        table.add_row(device["metadata"]["name"], *marks, state, ready.get("reason", ""))
    return table


def diff_line(line: str) -> Text:
    """A line of a unified diff, in the colours that people know."""
    return Text(f"  {line}", style={"+": "green", "-": "red", "@": "cyan"}.get(line[:1], ""))
