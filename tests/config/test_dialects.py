"""Which file a file is: its name and its content decide, and a contradiction is refused before anything is written."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from yaml_samples import DEBIAN

from edgeherd import config
from edgeherd.config.command import group

STRING = "HostName=northmill.azure-devices.net;DeviceId=press-07;SharedAccessKey=bm90LWEtcmVhbC1rZXk="
YAML = f'provisioning:\n  source: "manual"\n  device_connection_string: "{STRING}"\n'
TOML = f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING}"\n'
TOML_COMMENTS = f'# hostname = "my-device"\n\n## Manual provisioning\n#\n# {TOML}'.replace(
    "\nsource", "\n# source"
).replace("\nconn", "\n# conn")
YAML_COMMENTS = "# provisioning:\n#   source: manual\n"
YAML_WITH_PAIRS = f"{YAML}mine: |\n  [a]\n  b = 1\n"
TOML_WITH_KEYS = f'mine = """\nprovisioning:\n  source: x\n"""\n{TOML}'

OURS, OTHERS = "IoT Edge 1.1.15", "IoT Edge 1.5.44"
BY_NAME = "Error: {file} is a {one} by its name, and IoT Edge {version} reads a {other}."
BY_CONTENT = "The file is a {one} by its content, and IoT Edge {version} reads a {other}."


@pytest.mark.parametrize(
    ("name", "content", "version"),
    [
        pytest.param("config.yaml", YAML, OURS, id="config.yaml"),
        pytest.param("config.toml", TOML, OTHERS, id="config.toml"),
        pytest.param("config.toml", TOML_COMMENTS, OTHERS, id="a template of comments"),
        pytest.param("config.toml.edge.template", TOML_COMMENTS, OTHERS, id="a template by its name"),
        pytest.param("config.yaml", DEBIAN.decode(), OURS, id="a template of the other dialect"),
        pytest.param("x", YAML, OURS, id="a name that says nothing"),
        pytest.param("x", TOML, OTHERS, id="a name that says nothing, with tables in it"),
        pytest.param("x", TOML_COMMENTS, OTHERS, id="comments with tables in them"),
        pytest.param("x", YAML_COMMENTS, OURS, id="comments with a section in them"),
        pytest.param("config.yaml", YAML_WITH_PAIRS, OURS, id="a text that looks like a table"),
        pytest.param("config.toml", TOML_WITH_KEYS, OTHERS, id="a text that looks like a section"),
        pytest.param("config.toml", "", OTHERS, id="an empty file"),
        pytest.param("config.toml", "[provisioning\n", OTHERS, id="a broken one"),
    ],
)
def test_the_version_follows_from_the_file(name: str, content: str, version: str, tmp_path: Path) -> None:
    """Without --runtime, the usual one of that file."""
    file = tmp_path / name
    file.write_text(content)
    assert CliRunner().invoke(group, ["check", str(file)]).output.splitlines()[-1].startswith(version)


@pytest.mark.parametrize("command", ["set", "diff"])
@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        pytest.param("config.toml", YAML, (), BY_CONTENT.format(one="config.yaml", other="config.toml", version="1.5.44"), id="YAML in a config.toml"),
        pytest.param("config.yaml", TOML, (), BY_CONTENT.format(one="config.toml", other="config.yaml", version="1.1.15"), id="TOML in a config.yaml"),
        pytest.param("config.yaml", TOML_COMMENTS, (), BY_CONTENT.format(one="config.toml", other="config.yaml", version="1.1.15"), id="TOML in comments in a config.yaml"),
        pytest.param("x", TOML, ("--runtime", "1.1.15"), BY_CONTENT.format(one="config.toml", other="config.yaml", version="1.1.15"), id="TOML for 1.1"),
        pytest.param("x", YAML, ("--runtime", "1.5.44"), BY_CONTENT.format(one="config.yaml", other="config.toml", version="1.5.44"), id="YAML for 1.5"),
        pytest.param("config.toml", TOML, ("--runtime", "1.1.15"), " is a config.toml by its name, and IoT Edge 1.1.15 reads a config.yaml.", id="config.toml for 1.1"),
        pytest.param("config.yaml", YAML, ("--runtime", "1.5.44"), " is a config.yaml by its name, and IoT Edge 1.5.44 reads a config.toml.", id="config.yaml for 1.5"),
        pytest.param("x", "", (), " says which version reads it. Give --runtime.", id="nothing that tells"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused(
    command: str, name: str, content: str, *, options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """With one sentence, and the file stays as it is."""
    file, string = tmp_path / name, tmp_path / "string"
    file.write_text(content)
    string.write_text(STRING.replace("press-07", "press-08"))
    in_place = ["--in-place"] if command == "set" else []
    result = CliRunner().invoke(
        group, [command, str(file), "--connection-string-file", str(string), *options, *in_place]
    )
    assert (result.exit_code, result.stdout, file.read_text()) == (1, "", content)
    assert message in result.stderr


@pytest.mark.parametrize(("content", "version"), [(YAML, "1.5.44"), (TOML, "1.1.15"), (TOML_COMMENTS, "1.0.10")])
def test_the_operator_edits_no_file_of_the_other_dialect(content: str, version: str) -> None:
    """Whatever the path is called."""
    wanted = config.Wanted(connection_string=STRING)
    with pytest.raises(config.UneditableError, match="by its content"):
        config.edit(content.encode(), wanted, version=config.Version.parse(version))


@pytest.mark.parametrize(
    ("text", "status", "last"),
    [
        (TOML, 0, "IoT Edge 1.5.44 takes this file; edgeherd edits it."),
        (f"hostname = 1\n{TOML}", 1, "IoT Edge 1.5.44 refuses this file; edgeherd does not edit it."),
        (f'additional_info = "file:///x"\n{TOML}', 3, "IoT Edge 1.5.44 was not judged on all of this file; edgeherd edits it."),
    ],
    ids=["valid", "refused", "not judged"],
)  # fmt: skip
def test_what_was_not_judged_is_not_called_valid(text: str, status: int, last: str, tmp_path: Path) -> None:
    """It has a status of its own."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    result = CliRunner().invoke(group, ["check", str(file)])
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (status, last)


_MISPLACED = {
    "a host name at the end": (f'{TOML}hostname = "press"\n', [(4, "move it above the first table")]),
    "a bundle at the end": (f'{TOML}trust_bundle_cert = "file:///c"\n', [(4, "move it above the first table")]),
    "a key of 1.1": (f"{TOML}dynamic_reprovisioning = true\n", [(4, "IoT Edge 1.2 and later read auto_reprovisioning_mode above the first table instead")]),
    "an environment one table too deep": (f'{TOML}[agent]\nname = "edgeAgent"\ntype = "docker"\n[agent.config]\nimage = "i"\n[agent.config.env]\nA = "b"\n', [(9, "move it below [agent]")]),
    "a host name among free names": (f'{TOML}[agent]\nname = "edgeAgent"\ntype = "docker"\n[agent.config]\nimage = "i"\n[agent.env]\nhostname = "x"\n', []),
    "an unknown key": (f"{TOML}mine = 1\n[yours]\nhostname = 'x'\n", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "warnings"), _MISPLACED.values(), ids=_MISPLACED)
def test_a_key_below_the_wrong_table_is_warned_of_and_left(text: str, warnings: list[tuple[int, str]]) -> None:
    """With its line and the remedy; an edit changes what is wanted alone."""
    version = config.Version.parse("1.6.1")
    verdict = config.check(text.encode(), version=version)
    assert [(problem.severity, problem.rule, problem.line) for problem in verdict.problems] == [
        ("warning", "misplaced", line) for line, _ in warnings
    ]
    assert all(remedy in problem.message for problem, (_, remedy) in zip(verdict.problems, warnings, strict=True))
    wanted = config.Wanted(connection_string=STRING.replace("press-07", "press-08"))
    edit = config.edit(text.encode(), wanted, version=version)
    assert edit.content.decode() == text.replace("press-07", "press-08")
