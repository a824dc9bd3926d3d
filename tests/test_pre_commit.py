"""The hooks of .pre-commit-config.yaml run what is there, and let pass what they should."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repo["hooks"]
}


def test_the_hooks_are_those_of_make_lint_and_one_for_the_subject() -> None:
    """What is linted before a commit counts must be linted before it is made; nothing comes from elsewhere."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    linted = [re.sub(r" (--check|\.)(?= |$)", "", line) for line in re.findall(r"@\$\(BIN\)/(.+)", recipe)]
    run = [hook["entry"].removeprefix(".venv/bin/") for hook in HOOKS.values() if hook["language"] == "system"]
    assert [entry.removesuffix(" --force-exclude") for entry in run] == linted
    assert [name for name, hook in HOOKS.items() if hook["language"] != "system"] == ["subject"]


@pytest.mark.parametrize(
    "hook", [hook for hook in HOOKS.values() if hook["language"] == "system"], ids=lambda hook: hook["id"]
)
def test_an_entry_is_a_tool_of_the_venv(hook: dict[str, Any]) -> None:
    """`make setup` installs it."""
    tool = Path(shlex.split(hook["entry"])[0])
    assert tool.parent == Path(".venv/bin")
    assert (TOOLS / tool.name).is_file()


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        pytest.param("x" * 72 + "\n", False, id="72 characters"),
        pytest.param("x" * 73 + "\n", True, id="73"),
        pytest.param("short\n\n" + "x" * 120 + "\n", False, id="a body may be wider"),
        pytest.param("x" * 73, True, id="without an end of line"),
        pytest.param("", False, id="nothing: git refuses that itself"),
    ],
)
def test_a_subject_has_at_most_72_characters(message: str, refused: bool) -> None:
    """Pre-commit's pygrep refuses a message where the expression is found; these are its flags for --multiline."""
    hook = HOOKS["subject"]
    assert (hook["language"], hook["args"], hook["stages"]) == ("pygrep", ["--multiline"], ["commit-msg"])
    assert bool(re.search(hook["entry"].encode(), message.encode(), re.MULTILINE | re.DOTALL)) is refused
