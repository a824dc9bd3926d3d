"""Every config.yaml that a package of IoT Edge 1.0 or 1.1 ever brought: edited, edited again, undone."""

import re

import pytest
from yaml_samples import (
    AUTH,
    DEBIAN,
    GOOD,
    PLACEHOLDER,
    STRING,
    X509,
    active_sections,
    changed,
    difference,
    fixture,
    refusal,
    said,
    told,
)

from edgeherd import config
from edgeherd.config import Wanted

TAGS = [
    "1.0.0",
    "1.0.1",
    "1.0.5",
    "1.0.6",
    "1.0.7.1",
    "1.0.8",
    "1.0.9",
    "1.0.9.5",
    "1.0.10",
    "1.1.0",
    "1.1.1",
    "1.1.15",
]
FILES = {"deb": "linux-debian.config.yaml", "rpm": "linux.config.yaml", "Windows": "windows.config.yaml"}
TEMPLATES = [("1.0.10", "ours")]
TEMPLATES += [(tag, kind) for tag in TAGS for kind in FILES if (tag, kind) != ("1.0.0", "deb")]
GENERATIONS = [("1.0.10", "ours"), ("1.0.0", "rpm"), ("1.0.6", "deb"), ("1.0.8", "Windows"), ("1.0.9.5", "rpm")]
GENERATIONS += [("1.0.10", "Windows"), ("1.1.1", "deb"), ("1.1.15", "rpm")]
IMAGE = "registry.example/agent:1.0"
ENV = {"UpstreamProtocol": "AmqpWs", "https_proxy": "http://proxy.example:3128"}
LAYOUTS = {
    "as it came": lambda content: content,
    "with CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "without a final newline": lambda content: content.rstrip(b"\n"),
    "with CRLF, without a final newline": lambda content: content.rstrip(b"\n").replace(b"\n", b"\r\n"),
}

ROWS = {
    "the connection string alone": Wanted(connection_string=STRING),
    "dynamic reprovisioning": Wanted(connection_string=STRING, dynamic_reprovisioning=True),
    "no dynamic reprovisioning": Wanted(connection_string=STRING, dynamic_reprovisioning=False),
    "a host name": Wanted(connection_string=STRING, hostname="press-01"),
    "an image of the agent": Wanted(connection_string=STRING, agent_image=IMAGE),
    "credentials of a registry": Wanted(connection_string=STRING, agent_auth=AUTH),
    "environment variables": Wanted(connection_string=STRING, agent_env=ENV),
}
EVERYTHING = Wanted(
    connection_string=STRING,
    dynamic_reprovisioning=True,
    hostname="press-01",
    agent_image=IMAGE,
    agent_auth=AUTH,
    agent_env=ENV,
)


def template(tag: str, kind: str) -> bytes:
    """A template as its package brings it."""
    return DEBIAN if kind == "ours" else fixture("templates", tag, FILES[kind])


def named(value: object) -> str:
    """A template's name in the test's id."""
    return " ".join(value) if isinstance(value, tuple) else str(value)


def expected(text: str, wanted: Wanted) -> tuple[list[str], list[str]]:
    """The lines of a pristine template that go, and those that come."""
    gone = [f'  device_connection_string: "{PLACEHOLDER}"']
    come = [f'  device_connection_string: "{STRING}"']
    dynamic = "\n  dynamic_reprovisioning: false\n" in text.replace("\r\n", "\n")
    if wanted.dynamic_reprovisioning is not None and wanted.dynamic_reprovisioning is not (False if dynamic else None):
        gone += ["  dynamic_reprovisioning: false"] if dynamic else []
        come.append(f"  dynamic_reprovisioning: {str(wanted.dynamic_reprovisioning).lower()}")
    if wanted.agent_env:
        gone.append("  env: {}")
        come += ["  env:", *(f'    {name}: "{value}"' for name, value in wanted.agent_env.items())]
    if wanted.agent_image:
        gone += re.findall(r'^    image: "[^"]*"', text, re.MULTILINE)
        come.append(f'    image: "{wanted.agent_image}"')
    if auth := wanted.agent_auth:
        gone.append("    auth: {}")
        come += ["    auth:", f'      username: "{auth.username}"', f'      password: "{auth.password}"']
        come.append(f'      serveraddress: "{auth.server_address}"')
    if wanted.hostname:
        gone.append('hostname: "<ADD HOSTNAME HERE>"')
        come.append(f'hostname: "{wanted.hostname}"')
    return gone, come


def assert_edited(before: bytes, wanted: Wanted, version: config.Version) -> None:
    """An edit of a pristine template is right in every way that we know of."""
    made = config.edit(before, wanted, version=version)
    gone, come = difference(before, made.content)
    assert (sorted(gone), sorted(come)) == tuple(map(sorted, expected(before.decode(), wanted)))
    assert b"\r\n" in before or b"\r" not in made.content
    assert made.content.count(b"\n") - made.content.count(b"\r\n") == (
        0 if b"\r\n" in before else made.content.count(b"\n")
    )
    assert made.content.endswith(b"\n") == before.endswith(b"\n")
    assert active_sections(made.content) == 1
    assert config.check(made.content, version=version) == GOOD
    meant = config.load(made.content, version=version)
    assert (meant.source, meant.connection_string) == ("manual.device_connection_string", STRING)
    assert meant.hostname == (wanted.hostname or "<ADD HOSTNAME HERE>")
    assert meant.agent_image == (wanted.agent_image or said(before)["agent"]["config"]["image"])
    assert meant.agent_env == wanted.agent_env
    assert said(made.content)["provisioning"].get("dynamic_reprovisioning", False) is bool(
        wanted.dynamic_reprovisioning
    )
    assert config.edit(made.content, wanted, version=version) == config.Edit(
        content=made.content, changes=(), restarts=False
    )


@pytest.mark.parametrize("where", GENERATIONS, ids=named)
@pytest.mark.parametrize("wanted", ROWS.values(), ids=ROWS)
def test_exactly_the_lines_that_are_ours_change(where: tuple[str, str], wanted: Wanted) -> None:
    """One line for each thing that is wanted; the second edit finds nothing to do."""
    assert_edited(template(*where), wanted, config.Version.parse(where[0]))


@pytest.mark.parametrize("where", TEMPLATES, ids=named)
def test_every_template_takes_everything_at_once(where: tuple[str, str]) -> None:
    """All that can be wanted, in every file that a package ever brought."""
    assert_edited(template(*where), EVERYTHING, config.Version.parse(where[0]))


@pytest.mark.parametrize("where", GENERATIONS, ids=named)
@pytest.mark.parametrize("layout", list(LAYOUTS)[1:])
def test_line_ends_are_kept(where: tuple[str, str], layout: str) -> None:
    """LF stays LF, CRLF stays CRLF, and a file without a final newline gets none."""
    assert_edited(LAYOUTS[layout](template(*where)), EVERYTHING, config.Version.parse(where[0]))


@pytest.mark.parametrize("where", TEMPLATES, ids=named)
def test_undoing_gives_the_same_bytes_as_before(where: tuple[str, str]) -> None:
    """A device that is given up has the file that its package brought."""
    version = config.Version.parse(where[0])
    for layout in LAYOUTS.values():
        before = layout(template(*where))
        made = config.edit(before, Wanted(connection_string=STRING), version=version)
        undone = config.deprovision(made.content, version=version)
        assert undone.content == before
        assert [(change.path, change.action, change.after) for change in undone.changes] == [
            ("provisioning.device_connection_string", "Change", PLACEHOLDER)
        ]
        assert config.deprovision(before, version=version) == config.Edit(content=before, changes=(), restarts=False)


@pytest.mark.parametrize("where", TEMPLATES, ids=named)
def test_a_fresh_file_is_refused_by_the_daemon_and_taken_by_the_editor(where: tuple[str, str]) -> None:
    """Nothing is wrong with a template but the placeholder."""
    content = template(*where)
    line = content.decode().split("\n").index(f'  device_connection_string: "{PLACEHOLDER}"') + 1
    verdict = config.check(content, version=config.Version.parse(where[0]))
    assert told(verdict) == (False, True, [("connection-string-placeholder", line, "error")])


def switched(content: bytes, section: str) -> bytes:
    """A template with another section active: the manual one commented out, that one uncommented, as people do it."""
    blocks = content.decode().split("\n\n")
    manual = next(n for n, block in enumerate(blocks) if re.search(r"^provisioning:", block, re.MULTILINE))
    other = next(n for n, block in enumerate(blocks) if re.search(section, block, re.MULTILINE))
    blocks[manual] = re.sub(r"^(?!#)", "# ", blocks[manual], flags=re.MULTILINE)
    blocks[other] = re.sub(r"^# (?=provisioning:| )", "", blocks[other], flags=re.MULTILINE)
    return "\n\n".join(blocks).encode()


@pytest.mark.parametrize("where", TEMPLATES, ids=named)
def test_another_active_section_becomes_a_comment_and_the_manual_one_is_uncommented(where: tuple[str, str]) -> None:
    """A file on DPS ends up as the pristine one does."""
    before, version = template(*where), config.Version.parse(where[0])
    wanted = Wanted(connection_string=STRING)
    on_dps = switched(before, r'^#   source: "dps"')
    assert config.load(on_dps, version=version).source == ("dps.tpm" if version.numbers >= (1, 0, 7) else "dps")
    pristine = config.edit(before, wanted, version=version)
    assert config.edit(on_dps, wanted, version=version).content == pristine.content


@pytest.mark.parametrize("where", TEMPLATES, ids=named)
def test_a_certificate_is_possible_since_1_0_10(where: tuple[str, str]) -> None:
    """Older daemons know no manual provisioning with X.509; later templates have the section in a comment."""
    before, version, wanted = template(*where), config.Version.parse(where[0]), Wanted(x509=X509)
    if version.numbers < (1, 0, 10):
        with pytest.raises(config.UneditableError) as caught:
            config.edit(before, wanted, version=version)
        assert refusal(caught) == [("version", None)]
        return
    text = switched(before, r"^#   authentication:").decode()
    filled = changed(
        text,
        ("<REQUIRED IOTHUB HOSTNAME>", X509.iothub_hostname),
        ("<REQUIRED DEVICE ID PROVISIONED IN IOTHUB>", X509.device_id),
        ("<REQUIRED URI TO DEVICE IDENTITY CERTIFICATE>", X509.identity_cert),
        ("<REQUIRED URI TO DEVICE IDENTITY PRIVATE KEY>", X509.identity_pk),
    )
    made = config.edit(before, wanted, version=version)
    assert made.content.decode() == filled
    assert config.load(made.content, version=version).source == "manual.x509"
    assert config.edit(made.content, wanted, version=version).content == made.content
    back = config.edit(made.content, Wanted(connection_string=STRING), version=version)
    assert config.load(back.content, version=version).connection_string == STRING
    assert active_sections(back.content) == 1
