"""Writes the table of docs/devices.md from the results of `make test-shells`."""

import collections
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

import userlands
from userlands import RELEASES, USERLANDS

DOCS = pathlib.Path(__file__).parents[2] / "docs/devices.md"
BEGIN, END = "<!-- make test-shells writes from here -->\n", "<!-- to here -->\n"

_PACKAGES = {
    "coreutils": "GNU coreutils",
    "busybox": "busybox",
    "toybox": "toybox",
    "rust-coreutils": "uutils",
    "sshd": "OpenSSH",
    "dropbear": "Dropbear",
    "sudo": "sudo",
    "sudo-rs": "sudo-rs",
    "doas": "doas",
}
_PACKAGE_OF = {"sshd": "openssh-server", "dropbear": "dropbear-bin", "ksh93": "ksh93u+m"}


def main(results: pathlib.Path) -> None:
    """Both tables, in the order of the releases."""
    found = outcomes(results)
    lines = ["| release | `sh` | tools | script tests |", "|---|---|---|---|"]
    for one in USERLANDS:
        left = f", without {', '.join(f'`{name}`' for name in one.without)}" if one.without else ""
        shell = "" if one.sh == one.tools else f"{one.sh} {_version(one.suite, one.sh)}"
        lines.append(
            f"| {RELEASES[one.suite]} | {shell or f'{one.sh} ash'} | {_named(one.suite, one.tools)}{left} | {_told(found[one.name])} |"
        )
    lines += ["", "| release | server | root by | a whole pass |", "|---|---|---|---|"]
    passes: dict[tuple[str, str, str], collections.Counter[str]] = {}
    for name, result in found.items():
        if way := re.fullmatch(r"([a-z]+)-(sshd|dropbear)-(root|sudo|sudo-rs|doas)", name):
            passes[way[1], way[2], way[3]] = result
    for suite in RELEASES:
        for server in ("sshd", "dropbear"):
            ways = {by: result for (of, at, by), result in passes.items() if (of, at) == (suite, server)}
            named = ", ".join(by if by == "root" else _named(suite, by) for by in ways)
            lines.append(
                f"| {RELEASES[suite]} | {_named(suite, server)} | {named} | {_told(sum(ways.values(), collections.Counter()))} |"
            )
    write("\n".join([*lines, ""]))


def outcomes(results: pathlib.Path) -> dict[str, collections.Counter[str]]:
    """How many tests passed and failed, by what stands first in brackets after their name."""
    found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    names = sorted((one.name for one in USERLANDS), key=len, reverse=True)
    for case in ET.parse(results).iter("testcase"):  # noqa: S314 - pytest wrote the file
        bracket = case.get("name", "").partition("[")[2].rstrip("]")
        kind = next((name for name in names if bracket == name or bracket.startswith(f"{name}-")), bracket)
        result = "skipped" if case.find("skipped") is not None else "passed"
        if case.find("failure") is not None or case.find("error") is not None:
            result = "failed"
        found[kind][result] += 1
    return found


def write(tables: str) -> None:
    """Between the two marks."""
    text = DOCS.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")


def _told(result: collections.Counter[str]) -> str:
    if not result["passed"] and not result["failed"]:
        return "not run"
    return f"{result['failed']} of {result['failed'] + result['passed']} fail" if result["failed"] else "all pass"


def _named(suite: str, what: str) -> str:
    return f"{_PACKAGES[what]} {_version(suite, what)}"


def _version(suite: str, what: str) -> str:
    return userlands.version(suite, _PACKAGE_OF.get(what, what))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
