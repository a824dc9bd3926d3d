"""An edit of config.yaml changes what is wanted and nothing else that the file says, wherever things stand in it."""

import dataclasses
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from wishes import wishes
from yaml_samples import AUTH, OLD, STRING, X509, attempt, said

from edgeherd import config
from edgeherd.config import Wanted

V10, V11 = config.Version.parse("1.0.10"), config.Version.parse("1.1.15")
_PROVISIONING = [
    f'provisioning:\n  source: "manual"\n  device_connection_string: "{OLD}" # by hand\n',
    f"provisioning:\n  device_connection_string: {OLD}\n  mine: [1, ~]\n  dynamic_reprovisioning: true\n",
    f"provisioning: {{source: manual, device_connection_string: '{OLD}'}}\n",
    f"provisioning:\n  source: manual\n  authentication:\n    method: device_connection_string\n    device_connection_string: >-\n      {OLD}\n",
    'provisioning:\n  source: "dps"\n  global_endpoint: "https://d.example"\n  scope_id: "s"\n  registration_id: "r"\n',
    'provisioning:\n  source: "external"\n  endpoint: "http://localhost:9999"\n',
    (
        'provisioning:\n  source: "manual"\n  authentication:\n    method: "x509"\n    iothub_hostname: "h"\n    device_id: "d"\n'
        '    identity_cert: "file:///c"\n    identity_pk: "file:///k"\n  dynamic_reprovisioning: false\n'
    ),
]
_AGENTS = [
    'agent:\n  name: "edgeAgent"\n  type: "docker"\n  env: {}\n  config:\n    image: "i"\n    auth: {}\n',
    'agent:\n  name: edgeAgent\n  type: docker\n  env:\n    A: "x" # ex\n    Mine: \'y\'\n  config:\n    image: i\n    createOptions: {HostConfig: {Binds: ["/a:/b"]}}\n',
    'agent:\n  env: {A: "x", "Mine": "y"}\n  config: {image: "i", auth: {username: "u", password: "p", serveraddress: "s"}}\n',
    'agent:\n    config:\n        image: "i"\n        auth:\n            username: u\n',
]
_OTHERS = [
    "hostname: edge1 # mine\n",
    "mine: &m {a: 1, b: [2.5, ~, 'x']}\nyours: *m\n",
    "text: |\n  hostname: x\n  # provisioning:\n\nmore: >-\n  folded\n  text\n",
    "watchdog:\n  max_retries: 2\n",
    "inf: inf\n",
]
_REMARKS = [
    "",
    "\n",
    "# a remark\n",
    "#watchdog:\n#  max_retries: 2\n",
    '# provisioning:\n#   source: "manual"\n#   device_connection_string: "x"\n',
]
FILES = st.tuples(
    st.sampled_from(["", *_PROVISIONING]), st.sampled_from(["", *_AGENTS]), st.lists(st.sampled_from(_OTHERS), unique=True, max_size=3)
).flatmap(lambda parts: st.permutations([part for part in (*parts[:2], *parts[2]) if part]))  # fmt: skip
WISHES = wishes(["A", "Mine", "https_proxy"])
IDENTITY = st.sampled_from([{}, {"connection_string": STRING}, {"connection_string": STRING}, {"x509": X509}])


def put(tree: dict[str, Any], value: object, *above: str, name: str) -> None:
    """A value at its place, in tables that are made where they are missing."""
    for part in above:
        tree = tree.setdefault(part, {})
    tree[name] = value


def wished(tree: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    """What a file has to say after the edit, but for its provisioning section. Written apart from the editor."""
    if wanted.hostname is not None:
        tree["hostname"] = wanted.hostname
    if wanted.agent_image is not None:
        put(tree, wanted.agent_image, "agent", "config", name="image")
    if wanted.agent_auth is not None:
        for name, value in (
            ("username", "reader"),
            ("password", AUTH.password),
            ("serveraddress", AUTH.server_address),
        ):
            put(tree, value, "agent", "config", "auth", name=name)
    for name, text in wanted.agent_env.items():
        if text is not None:
            put(tree, text, "agent", "env", name=name)
        elif isinstance(tree.get("agent"), dict):
            tree["agent"].get("env", {}).pop(name, None)
    return tree


@pytest.mark.parametrize("style", [">-", "|-", ">-  # folded", "|+", ">"])
@pytest.mark.parametrize("gap", ["", "\n", "\n\n# a remark\n"])
def test_a_string_in_a_block_is_replaced_and_a_key_is_added_below(style: str, gap: str) -> None:
    """Blank lines behind a block are read with it, and stay behind what is added."""
    section = f"provisioning:\n  source: manual\n  device_connection_string: {style}\n    {OLD}\n{gap}"
    text = f"{section}hostname: edge1\n".encode()
    wanted = Wanted(connection_string=STRING, dynamic_reprovisioning=False)
    after = config.edit(text, wanted, version=V11).content
    assert said(after) == {
        "provisioning": {"source": "manual", "device_connection_string": STRING, "dynamic_reprovisioning": False},
        "hostname": "edge1",
    }
    assert config.edit(after, wanted, version=V11).changes == ()


@settings(max_examples=250, deadline=None)
@given(
    parts=FILES,
    remarks=st.lists(st.sampled_from(_REMARKS), min_size=8, max_size=8),
    crlf=st.booleans(),
    wishes=WISHES,
    identity=IDENTITY,
    version=st.sampled_from([V10, V11]),
)
def test_any_file_says_afterwards_what_it_said_and_what_is_wanted(
    *,
    parts: list[str],
    remarks: list[str],
    crlf: bool,
    wishes: Wanted,
    identity: dict[str, Any],
    version: config.Version,
) -> None:
    """Or it is refused for a fault that it had before; never for what the editor made of it."""
    text = "".join(part for pair in zip(remarks, [*parts, ""], strict=False) for part in pair)
    before = text.replace("\n", "\r\n").encode() if crlf else text.encode()
    wanted = dataclasses.replace(wishes, **identity)
    edit, refusal = attempt(config.edit, before, wanted=wanted, version=version)
    if edit is None or refusal is not None:
        faults = {problem.rule for problem in refusal.problems} if refusal is not None else set()
        event(f"refused: {sorted(faults)}")
        verdict = config.check(before, version=version)
        assert (verdict.valid, faults - {problem.rule for problem in verdict.problems}) == (False, set())
        return
    after, then = said(edit.content) or {}, said(before) or {}
    section, old_section = after.pop("provisioning", {}), then.pop("provisioning", {})
    assert after == wished(then, wanted)
    read = config.load(edit.content, version=version)
    if wanted.connection_string is not None:
        assert (read.connection_string, read.x509) == (STRING, None)
    elif wanted.x509 is not None:
        assert (read.connection_string, read.x509) == ("", X509)
    else:
        assert {**section, "dynamic_reprovisioning": 0} == {**old_section, "dynamic_reprovisioning": 0}
    if "connection_string" in identity:
        assert OLD.rpartition("=")[0][-16:] not in edit.content.decode()
    again = config.edit(edit.content, wanted, version=version)
    assert again == config.Edit(content=edit.content, changes=(), restarts=False)
