"""The walk of Microsoft's article "Set up an Azure IoT Edge device with symmetric key authentication", by the editor.

The article asks a person to uncomment the manual section, to put the connection string in, to see that all other
provisioning sections are comments, that `provisioning:` has no white space before it, and that nested items are
indented by two spaces.
"""

import pytest
from yaml_samples import DEBIAN, PLACEHOLDER, STRING, V1_0_10, active_sections, changed, difference

from edgeherd import config
from edgeherd.config import Change, Wanted

MANUAL = f"""\
provisioning:
  source: "manual"
  device_connection_string: "{PLACEHOLDER}"
  dynamic_reprovisioning: false
"""
DPS = """\
provisioning:
  source: "dps"
  global_endpoint: "https://global.azure-devices-provisioning.net"
  scope_id: "<SCOPE_ID>"
  attestation:
    method: "symmetric_key"
    registration_id: "<REGISTRATION_ID>"
    symmetric_key: "<SYMMETRIC_KEY>"
  dynamic_reprovisioning: false
"""
HEADING = "# Manual provisioning configuration using a connection string\n"


def commented(section: str) -> str:
    """A section as the template comments it out."""
    return "".join(f"# {line}" for line in section.splitlines(keepends=True))


def test_the_manual_section_is_uncommented_filled_in_and_the_only_active_one() -> None:
    """The article's walk: a device on DPS becomes one with a connection string, and the file looks as if by hand."""
    template = DEBIAN.decode()
    on_dps = changed(template, (MANUAL, commented(MANUAL)), (commented(DPS), DPS)).encode()

    made = config.edit(on_dps, Wanted(connection_string=STRING), version=V1_0_10)

    finished = changed(template, (PLACEHOLDER, STRING))
    assert HEADING + changed(MANUAL, (PLACEHOLDER, STRING)) in made.content.decode()
    assert made.content.decode() == finished
    assert active_sections(made.content) == 1
    assert made.restarts
    assert config.check(made.content, version=V1_0_10) == config.Verdict(valid=True, editable=True, problems=())
    assert config.load(made.content, version=V1_0_10).connection_string == STRING


def test_on_a_fresh_device_one_line_differs() -> None:
    """The template's manual section is active already; only the string is put in, and it can be taken out again."""
    made = config.edit(DEBIAN, Wanted(connection_string=STRING), version=V1_0_10)
    line = f'  device_connection_string: "{PLACEHOLDER}"'
    assert difference(DEBIAN, made.content) == ([line], [changed(line, (PLACEHOLDER, STRING))])
    masked = STRING.rpartition("=")[0] + "=***"
    change = Change(path="provisioning.device_connection_string", action="Change", before=PLACEHOLDER, after=masked)
    assert made.changes == (change,)
    assert config.deprovision(made.content, version=V1_0_10).content == DEBIAN


@pytest.mark.parametrize(
    ("mistake", "rule", "line"),
    [
        pytest.param((commented(DPS), DPS), "duplicate-key", 58, id="another section is active as well"),
        pytest.param(
            ("provisioning:\n  source", " provisioning:\n  source"), "leading-space", 31, id="a leading space"
        ),
        pytest.param(('  source: "manual"', '\tsource: "manual"'), "tab", 32, id="a tab instead of two spaces"),
        pytest.param(
            (f'"{PLACEHOLDER}"', "\"'" + STRING + "'\""), "connection-string-malformed", 33, id="quotes copied"
        ),
    ],
)
def test_what_the_article_warns_of_is_found(mistake: tuple[str, str], rule: str, line: int) -> None:
    """Each thing that the article says to make sure of has its own rule, and the line that is to be fixed."""
    verdict = config.check(changed(DEBIAN.decode(), mistake).encode(), version=V1_0_10)
    assert (rule, line) in [(problem.rule, problem.line) for problem in verdict.problems]
