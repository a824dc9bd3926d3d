"""Which of the two files a file is: its name and its content decide, never a default."""

import pathlib
import re

from edgeherd.config import yaml_tree
from edgeherd.config.values import Dialect
from edgeherd.config.yaml_tree import MapNode, SyntaxProblemError

_YAML_KEYS = frozenset(
    [
        "provisioning",
        "certificates",
        "agent",
        "hostname",
        "watchdog",
        "connect",
        "listen",
        "homedir",
        "moby_runtime",
        "allow_elevated_docker_permissions",
    ]
)
_TOML_TABLE = re.compile(
    r"^#+[ \t]*\[{1,2}(?:provisioning|agent|edge_ca|moby_runtime|connect|listen|watchdog)\b[^\n]*\]", re.MULTILINE
)
_YAML_SECTION = re.compile(
    r"^#+ ?(?:provisioning|agent|certificates|moby_runtime|connect|listen|watchdog):[ \t]*\r?$", re.MULTILINE
)
_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_TOML_LINE = re.compile(rf"[ \t]*(?:\[{{1,2}}[^\]\n]+\]|{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*[ \t]*=)")
_YAML_LINE = re.compile(r"^[ \t]*([a-z_]+):(?:[ \t\r]|$)", re.MULTILINE)
_LIVE = re.compile(r"^[ \t]*[^\s#]", re.MULTILINE)


def of_name(path: pathlib.Path) -> Dialect | None:
    """What a file's name says; None for one that says nothing."""
    for suffix in reversed(path.suffixes):
        if suffix == ".toml":
            return Dialect.TOML
        if suffix in {".yaml", ".yml"}:
            return Dialect.YAML
    return None


def of_content(text: str) -> Dialect | None:
    """What a file's content says; None for one that could be either, or is neither."""
    text = text.removeprefix("\ufeff")
    first = _LIVE.search(text)
    if first is None:
        marks = bool(_TOML_TABLE.search(text)), bool(_YAML_SECTION.search(text))
        return {(True, False): Dialect.TOML, (False, True): Dialect.YAML}.get(marks)
    # The first line decides: a hand edit may have broken any of the others.
    if _TOML_LINE.match(text, first.start()):
        return Dialect.TOML
    return Dialect.YAML if _is_yaml(text) else None


def _is_yaml(text: str) -> bool:
    """Whether a section of the daemon's is a key of a mapping, or would be if the text were laid out as it should."""
    try:
        roots = yaml_tree.documents(text)
    except SyntaxProblemError:
        found = _YAML_LINE.search(text)
        return found is not None and found[1] in _YAML_KEYS
    root = roots[0] if roots else None
    return isinstance(root, MapNode) and not root.flow and any(root.get(key) is not None for key in _YAML_KEYS)


def belongs_to(text: str, dialect: Dialect) -> bool:
    """Whether the content is of that dialect, or says nothing about it."""
    return of_content(text) in {None, dialect}
