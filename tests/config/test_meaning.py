"""An edit changes what is wanted and nothing else that the file says, wherever things stand in it."""

import copy
import dataclasses
import math
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from toml_files import KEY, OTHER, STRING, files
from wishes import wishes
from yaml_samples import AUTH, X509, attempt

from edgeherd import config
from edgeherd.config import Wanted
from edgeherd.config.toml_grammar import parsed

V12, V15, V16 = (config.Version.parse(text) for text in ("1.2.10", "1.5.44", "1.6.1"))
AGENT = '[agent]\nname = "edgeAgent"\ntype = "docker"\n[agent.config]\nimage = "i"\n'
SECTION = f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING}"\n'
HEADING = "## Manual provisioning with connection string\n"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file whose keys could slip into a table that is new, and the file that comes of it."""

    sentence: str
    before: str
    wanted: Wanted
    after: str


CASES = (
    Case(
        sentence="a host name below provisioning in braces stays at the top",
        before='provisioning = { source = "none" }\nhostname = "edge1"\n',
        wanted=Wanted(connection_string=STRING),
        after=f'# provisioning = {{ source = "none" }}\nhostname = "edge1"\n\n{HEADING}{SECTION}',
    ),
    Case(
        sentence="a host name below provisioning with dots stays at the top",
        before='provisioning.source = "dps"\nprovisioning.global_endpoint = "https://d.example"\n'
        'provisioning.id_scope = "s"\nprovisioning.attestation = { method = "tpm", registration_id = "r" }\n'
        'hostname = "edge1"\n[tpm]\n',
        wanted=Wanted(connection_string=STRING),
        after='# provisioning.source = "dps"\n# provisioning.global_endpoint = "https://d.example"\n'
        '# provisioning.id_scope = "s"\n# provisioning.attestation = { method = "tpm", registration_id = "r" }\n'
        f'hostname = "edge1"\n[tpm]\n\n{HEADING}{SECTION}',
    ),
    Case(
        sentence="a host name below a certificate in braces stays at the top",
        before='provisioning = { source = "manual", iothub_hostname = "h", device_id = "d", authentication = { method = "x509", '
        'identity_cert = "file:///c", identity_pk = "file:///k" } }\nhostname = "edge1"\n',
        wanted=Wanted(connection_string=STRING),
        after='# provisioning = { source = "manual", iothub_hostname = "h", device_id = "d", authentication = { '
        'method = "x509", identity_cert = "file:///c", identity_pk = "file:///k" } }\nhostname = "edge1"\n\n'
        f"{HEADING}{SECTION}",
    ),
    Case(
        sentence="what is in a comment above a host name is not uncommented",
        before='# [provisioning]\n# source = "manual"\n# connection_string = "x"\nhostname = "edge1"\n',
        wanted=Wanted(connection_string=STRING),
        after='# [provisioning]\n# source = "manual"\n# connection_string = "x"\nhostname = "edge1"\n\n'
        f"{HEADING}{SECTION}",
    ),
    Case(
        sentence="credentials in a comment above a mode at the end are not uncommented",
        before='agent = { name = "edgeAgent", type = "docker", config = { image = "i" } }\n# [agent.config.auth]\n'
        '# serveraddress = "s"\n# username = "u"\n# password = "p"\nauto_reprovisioning_mode = "OnErrorOnly"\n' + SECTION,
        wanted=Wanted(agent_auth=AUTH),
        after='agent = { name = "edgeAgent", type = "docker", config = { image = "i", auth = { serveraddress = "registry.example", '
        'username = "reader", password = "hush-hush" } } }\n# [agent.config.auth]\n# serveraddress = "s"\n# username = "u"\n'
        '# password = "p"\nauto_reprovisioning_mode = "OnErrorOnly"\n' + SECTION,
    ),
    Case(
        sentence="an agent with dots at the top gets its credentials there too",
        before='agent.name = "edgeAgent"\nagent.type = "docker"\nagent.config.image = "i"\nhostname = "edge1"\n' + SECTION,
        wanted=Wanted(agent_auth=AUTH, agent_env={"A": "b"}),
        after='agent.name = "edgeAgent"\nagent.type = "docker"\nagent.config.image = "i"\n'
        'agent.config.auth.serveraddress = "registry.example"\nagent.config.auth.username = "reader"\n'
        'agent.config.auth.password = "hush-hush"\nagent.env.A = "b"\nhostname = "edge1"\n' + SECTION,
    ),
    Case(
        sentence="a variable joins its sibling that has dots below the agent's header",
        before=SECTION + '[agent]\nname = "edgeAgent"\ntype = "docker"\nenv.RuntimeLogLevel = "info"\n\n[agent.config]\nimage = "i"\n',
        wanted=Wanted(agent_env={"https_proxy": "http://p:3128"}),
        after=SECTION + '[agent]\nname = "edgeAgent"\ntype = "docker"\nenv.RuntimeLogLevel = "info"\n'
        'env.https_proxy = "http://p:3128"\n\n[agent.config]\nimage = "i"\n',
    ),
    Case(
        sentence="a variable joins its siblings in braces over several lines",
        before=SECTION + AGENT.replace("[agent.config]", 'env = {\n  A = "a", # first\n}\n[agent.config]'),
        wanted=Wanted(agent_env={"B": "b"}),
        after=SECTION + AGENT.replace("[agent.config]", 'env = {\n  A = "a",\n  B = "b", # first\n}\n[agent.config]'),
    ),
    Case(
        sentence="a configuration of the agent without its table gets the table",
        before=f'hostname = "edge1"\n\n[agent.config]\nimage = "$upstream:8000/agent:1.5"\n\n{SECTION}',
        wanted=Wanted(connection_string=STRING),
        after='hostname = "edge1"\n\n[agent]\nname = "edgeAgent"\ntype = "docker"\n\n[agent.config]\n'
        f'image = "$upstream:8000/agent:1.5"\n\n{SECTION}',
    ),
    Case(
        sentence="an environment of the agent alone gets table and image",
        before=f'[agent.env]\nUpstreamProtocol = "AmqpWs"\n\n{SECTION}',
        wanted=Wanted(connection_string=STRING),
        after='[agent]\nname = "edgeAgent"\ntype = "docker"\n\n[agent.env]\nUpstreamProtocol = "AmqpWs"\n\n[agent.config]\n'
        f'image = "mcr.microsoft.com/azureiotedge-agent:1.6"\n\n{SECTION}',
    ),
    Case(
        sentence="not-a-number is the same afterwards",
        before=f"foo = nan\n[x]\ny = [nan, -inf]\n\n{SECTION}".replace("press-01", "press-00"),
        wanted=Wanted(connection_string=STRING),
        after=f"foo = nan\n[x]\ny = [nan, -inf]\n\n{SECTION}",
    ),
    Case(
        sentence="what looks like a comment within a text is none",
        before=f'text = """\n# hostname = "x"\n"""\n{SECTION}',
        wanted=Wanted(hostname="edge1"),
        after=f'text = """\n# hostname = "x"\n"""\nhostname = "edge1"\n{SECTION}',
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_an_edit_takes_no_key_from_its_table(case: Case) -> None:
    """Exactly these bytes; done again, it changes nothing."""
    edit = config.edit(case.before.encode(), case.wanted, version=V16)
    assert edit.content.decode() == case.after
    assert config.edit(edit.content, case.wanted, version=V16) == config.Edit(
        content=edit.content, changes=(), restarts=False
    )


def _put(said: dict[str, Any], value: str, *above: str, name: str) -> None:
    for part in above:
        said = said.setdefault(part, {})
    said[name] = value


def wished(before: dict[str, Any], wanted: Wanted, version: config.Version) -> dict[str, Any]:
    """What a file has to say after the edit: what it said, and the wishes. Written apart from the editor."""
    said = copy.deepcopy(before)
    if wanted.connection_string is not None:
        _provision(said)
    if wanted.x509 is not None:
        _certify(said)
    if wanted.dynamic_reprovisioning is not None:
        said["auto_reprovisioning_mode"] = "Dynamic" if wanted.dynamic_reprovisioning else "OnErrorOnly"
    if wanted.hostname is not None:
        said["hostname"] = wanted.hostname
    _employ(said, wanted)
    if said.get("agent") == {"env": {}}:
        del said["agent"]  # it was one variable with dots, which is gone; below a header an empty table stays
    if "agent" in said:
        said["agent"] = {"name": "edgeAgent", "type": "docker"} | said["agent"]
        config_ = said["agent"].setdefault("config", {})
        config_.setdefault("image", f"mcr.microsoft.com/azureiotedge-agent:{version.numbers[0]}.{version.numbers[1]}")
    return said


def _employ(said: dict[str, Any], wanted: Wanted) -> None:
    if wanted.agent_image is not None:
        _put(said, wanted.agent_image, "agent", "config", name="image")
    if wanted.agent_auth is not None:
        for name, value in (("serveraddress", "registry.example"), ("username", "reader"), ("password", "hush-hush")):
            _put(said, value, "agent", "config", "auth", name=name)
    for name, text in wanted.agent_env.items():
        if text is not None:
            _put(said, text, "agent", "env", name=name)
        else:
            said.get("agent", {}).get("env", {}).pop(name, None)


def _certify(said: dict[str, Any]) -> None:
    found = said.get("provisioning", {})
    is_one = isinstance(found.get("authentication"), dict) and "identity_cert" in found["authentication"]
    parts = said["provisioning"] = found if is_one else {}
    parts |= {"source": "manual", "iothub_hostname": X509.iothub_hostname, "device_id": X509.device_id}
    parts["authentication"] = {"method": "x509", "identity_cert": X509.identity_cert, "identity_pk": X509.identity_pk}


def _provision(said: dict[str, Any]) -> None:
    found = said.get("provisioning", {})
    if "device_id_pk" in found.get("authentication", {}):
        found |= {"iothub_hostname": "contoso.azure-devices.net", "device_id": "press-01"}
        found["authentication"]["device_id_pk"] = {"value": KEY}
    elif "connection_string" in found:
        found["connection_string"] = STRING
    else:
        said["provisioning"] = {"source": "manual", "connection_string": STRING}


def plain(said: Any) -> Any:
    """Comparable, not-a-number too; a table that is empty says nothing."""
    if isinstance(said, dict):
        inner = {key: plain(value) for key, value in said.items()}
        return {key: value for key, value in inner.items() if value != {}}
    if isinstance(said, list):
        return [plain(value) for value in said]
    return "nan" if isinstance(said, float) and math.isnan(said) else (type(said).__name__, said)


WISHES = wishes(["A", "Mine", "https_proxy", "a.b"])
IDENTITY = st.sampled_from([{}, {"connection_string": STRING}, {"connection_string": STRING}, {"x509": X509}])


@settings(max_examples=400, deadline=None)
@given(text=files(), wishes=WISHES, identity=IDENTITY, version=st.sampled_from([V12, V15, V16]))
def test_any_file_says_afterwards_what_it_said_and_what_is_wanted(
    text: str, wishes: Wanted, identity: dict[str, Any], version: config.Version
) -> None:
    """Or it is refused, with a fault that the file had before; never for what the editor made of it."""
    wanted = dataclasses.replace(wishes, **identity)
    before = text.encode()
    edit, refusal = attempt(config.edit, before, wanted=wanted, version=version)
    if edit is None or refusal is not None:
        faults = {problem.rule for problem in refusal.problems} if refusal is not None else set()
        event(f"refused: {faults}")
        verdict = config.check(before, version=version)
        assert (verdict.valid, faults - {problem.rule for problem in verdict.problems}) == (False, set())
        return
    event("edited")
    said, then = parsed(edit.content.decode(), version), parsed(text, version)
    expected = wished(then, wanted, version)
    if "agent" not in then and "agent" in expected and '# image = "i"' in text and wanted.agent_image is None:
        expected["agent"]["config"]["image"] = said["agent"]["config"][
            "image"
        ]  # the comment may be what is uncommented
    if "agent" not in expected and "agent" in said:
        expected["agent"] = said["agent"]  # its header stayed, so it had to be completed
        assert said["agent"].get("env", {}) == {}
    assert plain(said) == plain(expected)
    again = config.edit(edit.content, wanted, version=version)
    assert again == config.Edit(content=edit.content, changes=(), restarts=False)
    if wanted.connection_string is not None:
        assert "b2xkLXNlY3JldC1vZi1wcmVzcw" not in edit.content.decode()


@settings(max_examples=200, deadline=None)
@given(text=files(), version=st.sampled_from([V15, V16]))
def test_an_undo_of_any_file_takes_the_section_alone(text: str, version: config.Version) -> None:
    """And no comment holds the key that was in it."""
    try:
        edit = config.deprovision(text.encode(), version=version)
    except config.UneditableError:
        return
    before = parsed(text, version)
    if before.get("provisioning", {}).get("source") == "manual":
        del before["provisioning"]
        assert OTHER.rpartition("=")[0][-20:] not in edit.content.decode()
    assert plain(parsed(edit.content.decode(), version)) == plain(before)
