"""`config.repair`: each known malformation of config.yaml alone and together, and nothing else."""

import itertools

import pytest
from yaml_samples import DEBIAN, GOOD, OLD, OLD_KEY, PLAIN, STRING, V1_1, changed, difference, refusal

from edgeherd import config
from edgeherd.config import Wanted

BOM = "line 1: the byte order mark was removed"
SECOND = "this provisioning section was commented out; the daemon used a later one"
FIRST = f'provisioning:\n  source: "manual"\n  device_connection_string: "{OLD}"\n'
COMMENTED = "# " + FIRST.replace("\n", "\n# ", 2).replace(OLD_KEY, "<REMOVED>")
FILLED = DEBIAN.decode().replace("<ADD DEVICE CONNECTION STRING HERE>", STRING)


def fixed(text: str) -> tuple[str, tuple[str, ...]]:
    """What repair makes of a text."""
    content, sentences = config.repair(text.encode(), version=V1_1)
    return content.decode(), sentences


@pytest.mark.parametrize(
    ("broken", "whole", "sentences"),
    [
        pytest.param("\ufeff" + PLAIN, PLAIN, (BOM,), id="a byte order mark"),
        pytest.param(
            changed(PLAIN, ("  source", "\tsource"), ("    auth", "\t\tauth")),
            PLAIN,
            ("line 2: tabs became two spaces each", "line 11: tabs became two spaces each"),
            id="tabs",
        ),
        pytest.param(
            changed(PLAIN, ("hostname:", "   hostname:")),
            PLAIN,
            ("line 12: 3 leading spaces removed",),
            id="three spaces before a single value",
        ),
        pytest.param(
            changed(PLAIN, ("listen:\n  m", " listen:\n   m"), ('  workload_uri: "fd', '   workload_uri: "fd')),
            PLAIN,
            ("line 16: 1 leading space removed",),
            id="a whole section is one space too far to the right",
        ),
        pytest.param(FIRST + PLAIN, COMMENTED + PLAIN, (f"line 1: {SECOND}",), id="two sections"),
        pytest.param(
            FIRST * 2 + PLAIN,
            COMMENTED * 2 + PLAIN,
            (f"line 1: {SECOND}", f"line 4: {SECOND}"),
            id="three sections",
        ),
        pytest.param(
            "\ufeff" + changed(FIRST, ("  source", "\tsource")) + changed(PLAIN, ("hostname:", " hostname:")),
            COMMENTED + PLAIN,
            (BOM, "line 2: tabs became two spaces each", "line 15: 1 leading space removed", f"line 1: {SECOND}"),
            id="all of it",
        ),
    ],
)
def test_each_malformation_is_mended_and_said(broken: str, whole: str, sentences: tuple[str, ...]) -> None:
    """The file becomes what it was meant to be; the daemon takes it, and so does the editor."""
    for eol in ("\n", "\r\n"):
        assert fixed(broken.replace("\n", eol)) == (whole.replace("\n", eol), sentences)
    assert fixed(whole) == (whole, ())
    assert config.check(whole.encode(), version=V1_1) == GOOD


BREAKS = {
    "a byte order mark": lambda text: "\ufeff" + text,
    "a tab": lambda text: changed(text, ('  name: "edgeAgent"', '\tname: "edgeAgent"')),
    "a leading space": lambda text: changed(text, ("\nhomedir:", "\n homedir:")),
    "a section uncommented by its hash alone": lambda text: changed(
        text,
        ('# provisioning:\n#   source: "external"', ' provisioning:\n   source: "external"'),
        ('#   endpoint: "http://localhost:9999"\n#', '   endpoint: "http://localhost:9999"\n'),
    ),
}


@pytest.mark.parametrize(
    "broken", [pair for n in (1, 2, 3, 4) for pair in itertools.combinations(BREAKS, n)], ids=" and ".join
)
def test_malformations_in_any_combination(broken: tuple[str, ...]) -> None:
    """Whatever is combined, the daemon takes the result and only those lines differ."""
    text = FILLED
    for name in broken:
        text = BREAKS[name](text)
    whole, sentences = fixed(text)
    external = "a section uncommented by its hash alone" in broken
    assert len(sentences) == len(broken) + external
    assert config.check(whole.encode(), version=V1_1) == GOOD
    assert config.load(whole.encode(), version=V1_1).source == (
        "external" if external else "manual.device_connection_string"
    )
    gone, come = difference(FILLED.encode(), whole.encode())
    assert (len(gone), len(come)) == ((8, 8) if external else (0, 0))
    assert fixed(whole) == (whole, ())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PLAIN, id="a plain file"),
        pytest.param(DEBIAN.decode(), id="the template"),
        pytest.param(FILLED.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(PLAIN.rstrip("\n"), id="no final newline"),
        pytest.param(changed(PLAIN, ("env: {}", 'env:\n    hostname: "x"\n    agent: "y"')), id="variables named as sections"),
        pytest.param(changed(PLAIN, (STRING, "blah")), id="what is wrong otherwise"),
        pytest.param(PLAIN + "a: 1\na: 2\n", id="another key twice"),
        pytest.param("", id="an empty file"),
    ],
)  # fmt: skip
def test_nothing_else_is_touched(text: str) -> None:
    """What is no known malformation stays, be it good or bad."""
    assert fixed(text) == (text, ())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"a: [\n", ("syntax", 1), id="a bracket that is never closed"),
        pytest.param(PLAIN.encode("utf-16"), ("encoding", 1), id="UTF-16"),
        pytest.param(b"#" * (256 * 1024 + 1), ("size", None), id="more than 256 KiB"),
    ],
)
def test_what_cannot_be_mended_is_refused(content: bytes, problem: tuple[str, int | None]) -> None:
    """No half-fixed file comes out."""
    with pytest.raises(config.UneditableError) as caught:
        config.repair(content, version=V1_1)
    assert refusal(caught) == [problem]


def test_a_repaired_file_can_be_edited() -> None:
    """The way out of a refusal: repair, then set."""
    broken = (FIRST + changed(PLAIN, ("hostname:", "\thostname:"))).encode()
    with pytest.raises(config.UneditableError):
        config.edit(broken, Wanted(connection_string=STRING), version=V1_1)
    content, _ = config.repair(broken, version=V1_1)
    made = config.edit(content, Wanted(connection_string=STRING), version=V1_1)
    assert config.load(made.content, version=V1_1).connection_string == STRING
