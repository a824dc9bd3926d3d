"""What a benchmark found, against what it should find: a table for people, JSON for programs."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure that must not exceed its target."""

    name: str
    value: float
    target: float

    @property
    def met(self) -> bool:
        """Whether it does not."""
        return self.value <= self.target


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns; the first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.rjust(width) if number else cell.ljust(width) for number, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    )
    return "\n".join(lines)


def write(targets: Sequence[Target]) -> None:
    """Print the targets, and write them to the file that BENCH_JSON names, beside those that are there already."""
    head = ("target", "value", "at most", "met")
    rows = [(t.name, f"{t.value:.2f}", f"{t.target:.2f}", "yes" if t.met else "NO") for t in targets]
    print(table([head, *rows]))  # noqa: T201 - what it is for
    name = os.environ.get("BENCH_JSON")
    if not name:
        return
    file = pathlib.Path(name)
    known = json.loads(file.read_text())["targets"] if file.exists() and file.stat().st_size else {}
    found = {t.name: {"value": round(t.value, 3), "target": t.target, "met": t.met} for t in targets}
    file.write_text(json.dumps({"targets": {**known, **found}}, indent=2) + "\n")
