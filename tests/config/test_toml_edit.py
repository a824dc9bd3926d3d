"""config.toml edited: what is wanted is there, and every other byte is as it was."""

import dataclasses
import difflib
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeherd import config
from edgeherd.config import Wanted

V15 = config.Version.parse("1.5.44")
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
STRING = f"HostName=contoso.azure-devices.net;DeviceId=press-01;SharedAccessKey={KEY}"
X509 = config.X509(
    iothub_hostname="contoso.azure-devices.net",
    device_id="press-01",
    identity_cert="file:///etc/certs/press-01.pem",
    identity_pk="file:///etc/certs/press-01.key",
)
AUTH = config.RegistryAuth(server_address="registry.example", username="reader", password="hush")
ALL = Wanted(
    connection_string=STRING,
    dynamic_reprovisioning=False,
    hostname="press-01",
    agent_image="registry.example/agent:1.5",
    agent_auth=AUTH,
    agent_env={"UpstreamProtocol": "AmqpWs", "https_proxy": "http://proxy:3128"},
)
WANTED = {
    "a connection string": Wanted(connection_string=STRING),
    "a certificate": Wanted(x509=X509),
    "a host name": Wanted(connection_string=STRING, hostname="press-01"),
    "an agent's image": Wanted(connection_string=STRING, agent_image="registry.example/agent:1.5"),
    "an agent's environment": Wanted(connection_string=STRING, agent_env={"A.b": "c"}),
    "everything": ALL,
}
OWNED = re.compile(
    r"# ?\[(provisioning|provisioning\.authentication|agent|agent\.config|agent\.config\.auth|agent\.env)\]"
    r'|\[.*\]|#? ?"?(source|connection_string|iothub_hostname|device_id|method|identity_pk|identity_cert|hostname|name|type'
    r'|image|serveraddress|username|password|auto_reprovisioning_mode|UpstreamProtocol|https_proxy|A\.b)"? ?='
)
"""What a line may look like that an edit of a template removes or adds."""

FIXTURES = Path(os.environ.get("EDGEHERD_FIXTURES", Path(__file__).resolve().parents[3] / "shared/fixtures/iotedge"))
TEMPLATES = sorted(FIXTURES.glob("templates/*/config.toml.edge.template"))
SUPER_CONFIGS = sorted(FIXTURES.glob("apply-1.5/*/super-config.toml"))


def difference(before: bytes, after: bytes) -> list[str]:
    """The lines that were removed and added."""
    old, new = before.decode().splitlines(), after.decode().splitlines()
    return [line for line in difflib.ndiff(old, new) if line[:1] in "+-"]


@pytest.mark.skipif(not TEMPLATES, reason="the upstream templates are not beside the repository")
@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
@pytest.mark.parametrize("ending", ["lf", "crlf", "no final newline"])
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.parent.name)
def test_a_template_is_edited_in_place(template: Path, ending: str, wanted: Wanted) -> None:
    """Only lines that are ours differ, the daemon takes the result, and a second edit changes nothing."""
    version = config.Version.parse(template.parent.name)
    before = template.read_bytes()
    before = {"lf": before, "crlf": before.replace(b"\n", b"\r\n"), "no final newline": before.rstrip(b"\n")}[ending]
    edit = config.edit(before, wanted, version=version)
    assert config.check(edit.content, version=version) == config.Verdict(valid=True, editable=True, problems=())
    assert [line for line in difference(before, edit.content) if not OWNED.match(line[2:])] == []
    again = config.edit(edit.content, wanted, version=version)
    assert (again.content, again.changes, again.restarts) == (edit.content, (), False)
    assert edit.restarts
    assert edit.content.count(b"\r\n") == (edit.content.count(b"\n") if ending == "crlf" else 0)
    assert KEY not in str(edit.changes) + config.masked_diff(before, edit.content, name="x")
    assert "hush" not in str(edit.changes) + config.masked_diff(before, edit.content, name="x")


@pytest.mark.skipif(not TEMPLATES, reason="the upstream templates are not beside the repository")
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.parent.name)
def test_an_edit_of_a_template_is_undone_to_the_byte(template: Path) -> None:
    """The section is a comment again, with the template's example."""
    version = config.Version.parse(template.parent.name)
    before = template.read_bytes()
    edit = config.edit(before, Wanted(connection_string=STRING), version=version)
    assert config.deprovision(edit.content, version=version).content == before


@pytest.mark.skipif(not TEMPLATES, reason="the upstream templates are not beside the repository")
@pytest.mark.parametrize("layout", ["lf", "crlf"])
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.parent.name)
def test_a_template_goes_from_a_connection_string_to_a_certificate_and_back(template: Path, layout: str) -> None:
    """One section is active each time, and the other one is a comment without a secret."""
    version = config.Version.parse(template.parent.name)
    before = template.read_bytes() if layout == "lf" else template.read_bytes().replace(b"\n", b"\r\n")
    first = config.edit(before, Wanted(connection_string=STRING), version=version).content
    second = config.edit(first, Wanted(x509=X509), version=version)
    assert second.content == config.edit(before, Wanted(x509=X509), version=version).content
    assert KEY.encode() not in second.content
    assert KEY not in str(second.changes) + config.masked_diff(first, second.content, name="x")
    read = config.load(second.content, version=version)
    assert (read.source, read.x509, read.connection_string) == ("manual.x509", X509, "")
    assert tomllib.loads(second.content.decode())["provisioning"] == tomllib.loads(CERTIFICATE)["provisioning"]
    again = config.edit(second.content, Wanted(x509=X509), version=version)
    assert again == config.Edit(content=second.content, changes=(), restarts=False)
    third = config.edit(second.content, Wanted(connection_string=STRING), version=version)
    read = config.load(third.content, version=version)
    assert (read.source, read.x509, read.connection_string) == ("manual.device_connection_string", None, STRING)
    assert "provisioning" not in tomllib.loads(config.deprovision(second.content, version=version).content.decode())


def test_a_certificate_that_is_no_uri_is_refused() -> None:
    """By the name of the key."""
    wanted = Wanted(x509=dataclasses.replace(X509, identity_cert="/etc/certs/press-01.pem"))
    with pytest.raises(config.UneditableError) as caught:
        config.edit(b"", wanted, version=V15)
    assert [problem.rule for problem in caught.value.problems] == ["uri"]


@pytest.mark.skipif(not SUPER_CONFIGS, reason="the upstream files are not beside the repository")
@pytest.mark.parametrize("path", SUPER_CONFIGS, ids=lambda path: path.parent.name)
def test_what_config_import_wrote_is_edited_and_scrubbed(path: Path) -> None:
    """Parts keep their form; other sections become comments; deprovision leaves no key behind."""
    before = path.read_bytes()
    assert config.check(before, version=V15) == config.Verdict(valid=True, editable=True, problems=())
    edit = config.edit(before, Wanted(connection_string=STRING), version=V15)
    settings_ = config.load(edit.content, version=V15)
    assert settings_.connection_string == STRING
    assert settings_.source == ("manual.sas" if b'method = "sas"' in before else "manual.device_connection_string")
    undone = config.deprovision(edit.content, version=V15).content
    assert KEY.encode() not in undone
    assert b"\n[provisioning]" not in undone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file, what is wanted of it, and what becomes of it."""

    sentence: str
    before: str
    wanted: Wanted
    after: str
    restarts: bool = True


CERTIFICATE = """\
[provisioning]
source = "manual"
iothub_hostname = "contoso.azure-devices.net"
device_id = "press-01"

[provisioning.authentication]
method = "x509"
identity_pk = "file:///etc/certs/press-01.key"
identity_cert = "file:///etc/certs/press-01.pem"
"""
EXAMPLE = (
    "HostName=example.azure-devices.net;DeviceId=my-device;SharedAccessKey=YXppb3QtaWRlbnRpdHktc2VydmljZXxhemlvdC1pZGU="
)
SECTION = f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING}"\n'
OTHER = STRING.replace("press-01", "other")
CASES = (
    Case(
        sentence="what is right already is left, odd spacing and quotes included",
        before=f"# mine\n[ provisioning ]\nsource='manual' # by hand\nconnection_string = '{STRING}'",
        wanted=Wanted(connection_string=STRING),
        after=f"# mine\n[ provisioning ]\nsource='manual' # by hand\nconnection_string = '{STRING}'",
        restarts=False,
    ),
    Case(
        sentence="a value is replaced and its comment stays",
        before=f"[provisioning]\nsource = 'manual'\nconnection_string = '{OTHER}'  # ours\n",
        wanted=Wanted(connection_string=STRING),
        after=f"[provisioning]\nsource = 'manual'\nconnection_string = \"{STRING}\"  # ours\n",
    ),
    Case(
        sentence="an empty file gets a section in the template's style",
        before="",
        wanted=Wanted(connection_string=STRING),
        after=f"## Manual provisioning with connection string\n{SECTION}",
    ),
    Case(
        sentence="dotted keys are edited where they are",
        before=f'provisioning.source = "manual"\nprovisioning.connection_string = "{OTHER}"\n',
        wanted=Wanted(connection_string=STRING),
        after=f'provisioning.source = "manual"\nprovisioning.connection_string = "{STRING}"\n',
    ),
    Case(
        sentence="an inline table is edited where it is",
        before=f'provisioning = {{ source = "manual", connection_string = "{OTHER}" }}\n',
        wanted=Wanted(connection_string=STRING),
        after=f'provisioning = {{ source = "manual", connection_string = "{STRING}" }}\n',
    ),
    Case(
        sentence="DPS becomes a comment, and our section stands below it",
        before='[provisioning]\nsource = "none"\n\n[tpm]\ntcti = "x"\n',
        wanted=Wanted(connection_string=STRING),
        after='# [provisioning]\n# source = "none"\n\n## Manual provisioning with connection string\n'
        f'{SECTION}\n[tpm]\ntcti = "x"\n',
    ),
    Case(
        sentence="a section in a comment is not uncommented where keys below would slip into it",
        before='# [provisioning]\n# source = "manual"\n# connection_string = "x"\ncloud_retries = 3\n',
        wanted=Wanted(connection_string=STRING),
        after='# [provisioning]\n# source = "manual"\n# connection_string = "x"\ncloud_retries = 3\n\n'
        f"## Manual provisioning with connection string\n{SECTION}",
    ),
    Case(
        sentence="a host name goes above the first table",
        before=SECTION,
        wanted=Wanted(connection_string=STRING, hostname="press"),
        after=f'hostname = "press"\n\n{SECTION}',
    ),
    Case(
        sentence="a host name joins the other keys of the top",
        before=f"cloud_retries = 3 # x\n\n{SECTION}",
        wanted=Wanted(connection_string=STRING, hostname="press"),
        after=f'cloud_retries = 3 # x\nhostname = "press"\n\n{SECTION}',
    ),
    Case(
        sentence="an agent that is not there gets the version's image",
        before=SECTION,
        wanted=Wanted(connection_string=STRING, agent_env={"A": "b"}),
        after=f'{SECTION}\n[agent]\nname = "edgeAgent"\ntype = "docker"\n\n[agent.config]\n'
        'image = "mcr.microsoft.com/azureiotedge-agent:1.5"\n\n[agent.env]\nA = "b"\n',
    ),
    Case(
        sentence="keys of the environment that are not ours stay",
        before=f'{SECTION}[agent]\nname = "a"\ntype = "docker"\nenv = {{ Mine = "x" }}\n[agent.config]\nimage = "i"\n',
        wanted=Wanted(connection_string=STRING, agent_env={"A": "b"}),
        after=f'{SECTION}[agent]\nname = "a"\ntype = "docker"\nenv = {{ Mine = "x", A = "b" }}\n[agent.config]\nimage = "i"\n',
    ),
    Case(
        sentence="an empty file gets a certificate in the template's style",
        before="",
        wanted=Wanted(x509=X509),
        after=f"## Manual provisioning with X.509 certificate\n{CERTIFICATE}",
    ),
    Case(
        sentence="a connection string becomes a comment without its key, and a certificate stands below it",
        before=f"# mine\n{SECTION}",
        wanted=Wanted(x509=X509),
        after=f'# mine\n# [provisioning]\n# source = "manual"\n# connection_string = "{EXAMPLE}"\n\n'
        f"## Manual provisioning with X.509 certificate\n{CERTIFICATE}",
    ),
    Case(
        sentence="a certificate that is right already is left",
        before=CERTIFICATE.replace('"', "'") + "# mine\n",
        wanted=Wanted(x509=X509),
        after=CERTIFICATE.replace('"', "'") + "# mine\n",
        restarts=False,
    ),
    Case(
        sentence="another certificate is replaced, value by value",
        before=CERTIFICATE.replace("press-01", "other").replace('/certs/other.pem"', '/x.pem" # old'),
        wanted=Wanted(x509=X509),
        after=CERTIFICATE.replace('.pem"', '.pem" # old'),
    ),
    Case(
        sentence="a certificate that the daemon has issued becomes a comment",
        before='[provisioning]\nsource = "manual"\niothub_hostname = "h"\ndevice_id = "d"\n[provisioning.authentication]\n'
        'method = "x509"\nidentity_cert = { method = "est", common_name = "d" }\n',
        wanted=Wanted(x509=X509),
        after='# [provisioning]\n# source = "manual"\n# iothub_hostname = "h"\n# device_id = "d"\n'
        '# [provisioning.authentication]\n# method = "x509"\n# identity_cert = { method = "est", common_name = "d" }\n\n'
        f"## Manual provisioning with X.509 certificate\n{CERTIFICATE}",
    ),
    Case(
        sentence="a certificate becomes a comment, and a connection string stands below it",
        before=CERTIFICATE,
        wanted=Wanted(connection_string=STRING),
        after="".join(f"# {line}\n" if line else "\n" for line in CERTIFICATE.split("\n")[:-1])
        + f"\n## Manual provisioning with connection string\n{SECTION}",
    ),
    Case(
        sentence="an unknown table after ours is left, and its keys too",
        before=f"{SECTION}[mine]\nconnection_string = 'x'\n",
        wanted=Wanted(connection_string=STRING.replace("press-01", "press-02")),
        after=f"{SECTION}[mine]\nconnection_string = 'x'\n".replace("press-01", "press-02"),
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_an_edit(case: Case) -> None:
    """Exactly these bytes."""
    edit = config.edit(case.before.encode(), case.wanted, version=V15)
    assert edit.content.decode() == case.after
    assert edit.restarts == case.restarts
    assert config.edit(edit.content, case.wanted, version=V15).changes == ()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[provisioning\n", "syntax"),
        (f"{SECTION}\n{SECTION}", "syntax"),
        ("\ufeff" + SECTION, "bom"),
        (f'{SECTION}[agent]\nname = "a"\ntype = "d"\nconfig = 1\n', "type"),
        (f'{SECTION}[agent]\nname = "a"\ntype = "d"\n[agent.config]\nimage = ["x"]\n', "type"),
    ],
    ids=["no TOML", "two sections", "a BOM", "a number for a table", "a list for an image"],
)
def test_what_cannot_be_edited_safely_is_refused(text: str, rule: str) -> None:
    """With a line or a sentence, and nothing else is raised."""
    with pytest.raises(config.UneditableError) as caught:
        config.edit(text.encode(), ALL, version=V15)
    assert {problem.rule for problem in caught.value.problems} == {rule}


@pytest.mark.parametrize(
    ("before", "after", "fixed"),
    [
        (SECTION, SECTION, ()),
        ("\ufeff" + SECTION, SECTION, ("line 1: the byte order mark was removed",)),
        (
            "auto_reprovisioning_mode = Dynamic # x\n",
            'auto_reprovisioning_mode = "Dynamic" # x\n',
            ("line 1: the value was put in quotation marks",),
        ),
        (
            f'[provisioning]\nsource = "none"\n[tpm]\n{SECTION}',
            f'# [provisioning]\n# source = "none"\n[tpm]\n{SECTION}',
            ("line 1: this provisioning section was commented out; a later one stays",),
        ),
    ],
    ids=["nothing", "a BOM", "the template's bare word", "two sections"],
)
def test_repair(before: str, after: str, fixed: tuple[str, ...]) -> None:
    """What is known to go wrong by hand is fixed, and said."""
    assert config.repair(before.encode(), version=V15) == (after.encode(), fixed)


_LINES = st.lists(
    st.sampled_from(
        [
            "# a comment",
            "",
            "   ",
            "[tpm]",
            'tcti = "x"',
            "[provisioning]",
            'source = "manual"',
            'source = "none"',
            f'connection_string = "{OTHER}"',
            "[provisioning.authentication]",
            'method = "sas"',
            "[agent.env]",
            'A = "b"',
            'B = "b" # bee',
            'env = { A = "x", B = "b" }',
            'env.A = "x" # ex',
            '"C" = """\nsee = "x"\n"""',
            "[agent]",
            'name = "edgeAgent"',
            'type = "docker"',
            "[agent.config]",
            'image = "i"',
            "auth = {}",
            'hostname = "h"',
            "# [provisioning]",
            '# source = "manual"',
            '# connection_string = "x"',
            "cloud_retries = 1",
            'x = """\n[provisioning]\n"""',
            "y = [\n 1, # [agent]\n]",
        ]
    ),
    max_size=14,
)  # fmt: skip


_AGENT = '[agent]\nname = "edgeAgent"\ntype = "docker"\n{}[agent.config]\nimage = "i"\n{}'
_AGENTS = st.sampled_from(
    [
        "",
        _AGENT.format("", '\n[agent.env] # ours\nA = "x" # ex\n# no\nB = "b" # bee\n"C" = """\nsee = "x"\n"""\n'),
        _AGENT.format('env = { B = "b", A = "x" }\n', ""),
        _AGENT.format('env.A = "x" # ex\nenv."B" = \'b\' # bee\n', ""),
        _AGENT.format("", '[agent.env]\nA = "x"'),
    ]
)
"""What a file may end with."""


@settings(max_examples=300, deadline=None)
@given(
    lines=_LINES,
    agent=_AGENTS,
    crlf=st.booleans(),
    final=st.booleans(),
    env=st.dictionaries(st.sampled_from(["A", "B", "C", "https_proxy"]), st.none() | st.text("xÄ\"' \n"), max_size=3),
)
def test_any_file_is_edited_rightly_or_refused(
    lines: list[str], agent: str, crlf: bool, final: bool, env: dict[str, str | None]
) -> None:
    """Never anything else is raised, and no line that is not ours is lost."""
    text = "\n".join([*lines, agent]) + ("\n" if final else "")
    before = text.replace("\n", "\r\n").encode() if crlf else text.encode()
    wanted = dataclasses.replace(ALL, agent_env=env)
    try:
        edit = config.edit(before, wanted, version=V15)
    except config.UneditableError:
        return
    read = config.load(edit.content, version=V15)
    there = tomllib.loads(before.decode()).get("agent", {}).get("env", {})
    assert read.agent_env == {name: value for name, value in {**there, **env}.items() if value is not None}
    told = {change.path for change in edit.changes if change.action == "Remove"}
    assert told >= {f"agent.env.{name}" for name in there if env.get(name, "") is None}
    assert (read.connection_string, read.hostname, read.agent_image) == (STRING, "press-01", ALL.agent_image)
    assert config.edit(edit.content, wanted, version=V15).content == edit.content
    lost = [bare(line[2:]) for line in difference(before, edit.content) if line[0] == "-" and not OWNED.match(line[2:])]
    kept = {bare(line) for line in edit.content.decode().splitlines()}
    keys = [f"{key} =" for name in env for key in (name, f"env.{name}", f'"{name}"', f'env."{name}"')]
    ours = ("auth = {}", "env = {", "see =", '"""', *keys)
    assert [line for line in lost if not line.startswith(ours) and line not in kept] == []
    assert edit.content.decode().count("# bee") == before.decode().count("# bee")
    assert edit.content.decode().count("# ex") == before.decode().count("# ex")


def bare(line: str) -> str:
    """A line, comment or not."""
    return line.strip().removeprefix("#").strip()
