"""What the documentation names is there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_a_page_names_are_there(page: pathlib.Path) -> None:
    """Tests, modules and folders of the repository in backquotes, and links between the pages."""
    text = page.read_text()
    named = re.findall(r"`((?:tests|operator|manifests|crds|docs)/[\w./-]+)`", text)
    linked = [page.parent / target for target in re.findall(r"\]\((?!https?:)([\w./-]+)(?:#[\w-]+)?\)", text)]
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing + [str(target) for target in linked if not target.exists()] == []


def test_every_threat_of_the_security_page_has_a_test_or_a_reason() -> None:
    """T1 to T17, each once."""
    rows = re.findall(
        r"^\| (T\d+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE
    )
    assert [number for number, _ in rows] == [f"T{number}" for number in range(1, 18)]
    assert [number for number, test in rows if "tests/" not in test] == ["T15"]
