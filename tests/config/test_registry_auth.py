"""Credentials of the registry of the agent's image: `agent.config.auth` in every template, in both dialects."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yaml_samples import DEBIAN, FIXTURES, PLAIN, V1_1, changed, refusal, said

from edgeherd import config
from edgeherd.config import Change, RegistryAuth, Wanted

V15 = config.Version.parse("1.5.44")
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
STRING = f"HostName=contoso.azure-devices.net;DeviceId=press-01;SharedAccessKey={KEY}"
AUTH = RegistryAuth(server_address="registry.example", username="reader", password="hush-hush")
OLD = RegistryAuth(server_address="old.example", username="me", password="0ld-hush")
TOML = f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING}"\n'
AGENT = '[agent]\nname = "edgeAgent"\ntype = "docker"\n[agent.config]\nimage = "i"\n'
TEMPLATES = sorted(
    [*FIXTURES.glob("templates/*/*config.yaml"), *FIXTURES.glob("templates/*/config.toml.edge.template")]
)
NAMES = ("username", "password", "serveraddress")


def auth_in(content: bytes, version: config.Version) -> dict[str, Any]:
    """The credentials as another parser reads them."""
    root: Any = said(content) if version.dialect is config.Dialect.YAML else tomllib.loads(content.decode())
    return dict(root["agent"]["config"]["auth"])


def as_dict(auth: RegistryAuth) -> dict[str, str]:
    """Credentials under the file's names."""
    return dict(zip(NAMES, (auth.username, auth.password, auth.server_address), strict=True))


def shown(before: bytes, made: config.Edit) -> str:
    """All that people see of an edit."""
    return config.masked_diff(before, made.content, name="f") + repr(made)


@pytest.mark.skipif(not TEMPLATES, reason="the upstream templates are not beside the repository")
@pytest.mark.parametrize("ending", ["lf", "crlf", "no final newline"])
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parent.name} {path.name}")
def test_every_template_takes_credentials_and_others_after_them(template: Path, ending: str) -> None:
    """From none to some to others: the daemon takes it, a second edit finds nothing to do, no password is shown."""
    version = config.Version.parse(template.parent.name)
    content = template.read_bytes()
    content = {"lf": content, "crlf": content.replace(b"\n", b"\r\n"), "no final newline": content.rstrip()}[ending]
    content = config.edit(content, Wanted(connection_string=STRING), version=version).content
    image = config.load(content, version=version).agent_image
    had: dict[str, str] = {}
    for auth in (OLD, AUTH):
        wanted = Wanted(agent_auth=auth)
        made = config.edit(content, wanted, version=version)
        assert made.restarts
        assert auth_in(made.content, version) == as_dict(auth)
        assert config.check(made.content, version=version) == config.Verdict(valid=True, editable=True, problems=())
        assert config.load(made.content, version=version).agent_image == image
        told = {change.path: change for change in made.changes if change.path.startswith("agent.config.auth")}
        assert told == {
            f"agent.config.auth.{name}": Change(
                path=f"agent.config.auth.{name}",
                action="Change" if had else "Add",
                before="***" if had and name == "password" else had.get(name, ""),
                after="***" if name == "password" else value,
            )
            for name, value in as_dict(auth).items()
        }
        assert "hush" not in shown(content, made)
        again = config.edit(made.content, wanted, version=version)
        assert again == config.Edit(content=made.content, changes=(), restarts=False)
        assert made.content.count(b"\r\n") == (made.content.count(b"\n") if ending == "crlf" else 0)
        content, had = made.content, as_dict(auth)


def yaml_with(auth: str) -> str:
    """A config.yaml with that part for the credentials."""
    return changed(PLAIN, ("    auth: {}\n", auth))


@pytest.mark.parametrize(
    ("before", "after", "version"),
    [
        (
            yaml_with("    auth: {} # none\n"),
            yaml_with(
                '    auth: # none\n      username: "reader"\n      password: "hush-hush"\n      serveraddress: "registry.example"\n'
            ),
            V1_1,
        ),
        (
            yaml_with(
                "    auth:\n      serveraddress: 'registry.example' # ours\n      email: me@x\n      password: 'a' # b\n"
            ),
            yaml_with(
                "    auth:\n      serveraddress: 'registry.example' # ours\n      email: me@x\n"
                "      password: 'hush-hush' # b\n      username: \"reader\"\n"
            ),
            V1_1,
        ),
        (
            yaml_with("    auth: {username: reader, password: 'a'}\n"),
            yaml_with('    auth: {username: reader, password: \'hush-hush\', "serveraddress": "registry.example"}\n'),
            V1_1,
        ),
        (
            TOML,
            (
                f'{TOML}\n[agent]\nname = "edgeAgent"\ntype = "docker"\n\n[agent.config]\n'
                'image = "mcr.microsoft.com/azureiotedge-agent:1.5"\n\n[agent.config.auth]\nserveraddress = "registry.example"\n'
                'username = "reader"\npassword = "hush-hush"\n'
            ),
            V15,
        ),
        (
            f"{TOML}{AGENT}[agent.config.auth]\npassword = 'a' # b\nemail = \"me@x\"\n",
            (
                f'{TOML}{AGENT}[agent.config.auth]\npassword = "hush-hush" # b\nemail = "me@x"\nserveraddress = "registry.example"\n'
                'username = "reader"\n'
            ),
            V15,
        ),
        (
            f'{TOML}{AGENT}auth = {{ username = "reader", serveraddress = "registry.example", password = "a" }}\n',
            f'{TOML}{AGENT}auth = {{ username = "reader", serveraddress = "registry.example", password = "hush-hush" }}\n',
            V15,
        ),
    ],
    ids=["YAML: none", "YAML: some", "YAML: braces", "TOML: no agent", "TOML: some", "TOML: braces"],
)
def test_credentials_come_where_others_are(before: str, after: str, version: config.Version) -> None:
    """Exactly these bytes: what is not ours, such as an e-mail address, stays."""
    made = config.edit(before.encode(), Wanted(agent_auth=AUTH), version=version)
    assert made.content.decode() == after
    assert "hush" not in shown(before.encode(), made)
    assert config.edit(made.content, Wanted(agent_auth=AUTH), version=version).content == made.content


PASSWORDS = {
    "double quotes": 'hush"hush',
    "single quotes": "hush'hush",
    "both": "hush\"'\"'hush",
    "three double quotes": '"""hush"""',
    "backslashes": "hush\\n\\hush\\",
    "a dollar": "$hush${HOME}$(id)",
    "per cent": "%hush%41%",
    "unicode": "hüsh-😀-漢字-hush",
    "invisible": "hush\u200b\u00a0\u2028hush",
    "YAML": "hush: # - {[hush]}, &a *b !c |>",
    "spaces": " hush hush ",
    "a tab": "hush\thush",
    "a number": "0x1234",
    "true": "true",
    "null": "~",
    "nothing": "",
}


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
@pytest.mark.parametrize(
    ("before", "version"),
    [
        (DEBIAN.decode(), V1_1),
        (yaml_with("    auth:\n      password: '0ld-hush'\n"), V1_1),
        (yaml_with("    auth:\n      password: |\n        0ld-hush\n"), V1_1),
        (yaml_with("    auth: {password: 0ld-hush}\n"), V1_1),
        (TOML, V15),
        (f"{TOML}{AGENT}[agent.config.auth]\npassword = '0ld-hush'\n", V15),
        (f"{TOML}{AGENT}auth = {{password = '0ld-hush'}}\n", V15),
    ],
    ids=["a template", "single quotes", "a block", "YAML braces", "no agent", "TOML literal", "TOML braces"],
)
def test_passwords_of_any_letters(before: str, version: config.Version, password: str) -> None:
    """What another parser reads is what was wanted, and nobody sees it."""
    assert_kept(before, version, RegistryAuth(server_address="registry.example", username="reader", password=password))


@settings(deadline=None, max_examples=60)
@given(
    middle=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12)
    | st.text("\"'\\#:,{}=*&- \t$%\u2028\x00\x85", max_size=12),
    version=st.sampled_from([V1_1, V15]),
)
def test_passwords_of_all_letters(middle: str, version: config.Version) -> None:
    """Whatever is between the two halves, neither is shown."""
    before = DEBIAN.decode() if version is V1_1 else TOML
    auth = RegistryAuth(server_address="registry.example", username="reader", password=f"hush{middle}hush")
    assert_kept(before, version, auth)


def assert_kept(before: str, version: config.Version, auth: RegistryAuth) -> None:
    """It is in the file, once and for all, and in nothing that is shown."""
    wanted = Wanted(connection_string=STRING, agent_auth=auth)
    made = config.edit(before.encode(), wanted, version=version)
    assert auth_in(made.content, version) == as_dict(auth)
    assert config.edit(made.content, wanted, version=version) == config.Edit(
        content=made.content, changes=(), restarts=False
    )
    assert "hush" not in shown(before.encode(), made) + repr(wanted)
    gone = config.edit(made.content, Wanted(agent_auth=AUTH), version=version)
    assert auth_in(gone.content, version) == as_dict(AUTH)
    assert "hush" not in shown(made.content, gone)


@pytest.mark.parametrize("version", [V1_1, V15], ids=["YAML", "TOML"])
@pytest.mark.parametrize("field", ["password", "username", "server_address"])
@pytest.mark.parametrize("text", ["hush\n", "hush\r\nhush", "\rhush"])
def test_a_line_break_is_refused(text: str, field: str, version: config.Version) -> None:
    """It is never meant: `echo` put it there. The sentence says of what, and not what."""
    auth = dataclasses.replace(AUTH, **{field: text})
    before = DEBIAN if version is V1_1 else TOML.encode()
    with pytest.raises(config.UneditableError) as caught:
        config.edit(before, Wanted(connection_string=STRING, agent_auth=auth), version=version)
    assert refusal(caught) == [("value", None)]
    name = field.replace("_", "")
    assert str(caught.value) == f"What is wanted as agent.config.auth.{name} has a line break in it. Take it out."
