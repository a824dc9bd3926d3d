"""YAML, read by libyaml where it is: PyYAML's own parser took a third of the time that it takes to collect the tests."""

from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(text: str | bytes) -> list[Any]:
    """All that is in a text."""
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document is not None]


def read(path: Path) -> Any:
    """The one document of a file."""
    (document,) = documents(path.read_bytes())
    return document
