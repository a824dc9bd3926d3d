"""No secret of config.yaml in a diff, a change, a problem, a repr or an exception."""

import functools

import pytest
from yaml_samples import AUTH, DEBIAN, KEY, OLD, OLD_KEY, PASSWORD, PLAIN, STRING, V1_0_10, V1_1, attempt, changed

from edgeherd import config
from edgeherd.config import Wanted

OLD_PASSWORD = "0ld-hush"
SECRETS = (KEY, OLD_KEY.rstrip("="), PASSWORD, OLD_PASSWORD)
HOLDER = changed(
    PLAIN,
    (STRING, OLD),
    (
        "env: {}",
        f'env:\n    https_proxy: "http://reader:{OLD_PASSWORD}@proxy.example:3128"\n    API_TOKEN: "{OLD_PASSWORD}"',
    ),
    (
        "auth: {}",
        f'auth:\n      username: "reader"\n      password: "{OLD_PASSWORD}"\n      serveraddress: "old.example"',
    ),
)
"""A file that is full of secrets."""
ENV = {
    "https_proxy": f"http://reader:{PASSWORD}@proxy.example:3128",
    "API_TOKEN": PASSWORD,
    "STORE": f"https://store.example/c?sv=2020&sig={PASSWORD}&se=1",
    "SAS": f"SharedAccessSignature sr=h&sig={PASSWORD}&se=1",
    "UPSTREAM": OLD,
}
WANTED = Wanted(connection_string=STRING, agent_auth=AUTH, agent_env=ENV)
DPS = """\
provisioning:
  source: "dps"
  global_endpoint: "https://global.azure-devices-provisioning.net"
  scope_id: "0ne"
  attestation:
    method: "symmetric_key"
    registration_id: "press-01"
    symmetric_key: "0ld-hush"
"""


def leaks(text: str) -> list[str]:
    """The secrets that a text shows."""
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        pytest.param(DEBIAN.decode(), WANTED, id="secrets that come"),
        pytest.param(HOLDER, WANTED, id="secrets that replace others"),
        pytest.param(HOLDER.replace('"', "'"), WANTED, id="in single quotation marks"),
        pytest.param(HOLDER.replace(f'"{OLD}"', OLD), WANTED, id="in none"),
        pytest.param(HOLDER.replace(f'"{OLD}"', f"|-\n    {OLD}"), WANTED, id="as a block"),
        pytest.param(HOLDER.replace("\n", "\r\n"), WANTED, id="CRLF"),
        pytest.param(HOLDER, Wanted(hostname="press-02"), id="secrets that stay in the lines around"),
        pytest.param(DPS + PLAIN[PLAIN.index("agent:") :], WANTED, id="a symmetric key that becomes a comment"),
        pytest.param(PLAIN.replace("provisioning", f"# old: {OLD}\nprovisioning", 1), WANTED, id="a key in a comment"),
    ],
)
def test_a_diff_and_the_changes_show_no_secret(before: str, wanted: Wanted) -> None:
    """Everything else is shown, so that a person sees what happens."""
    made = config.edit(before.encode(), wanted, version=V1_1)
    diff = config.masked_diff(before.encode(), made.content, name="config.yaml")
    assert made.changes
    assert diff.startswith("--- config.yaml (before)\n+++ config.yaml (after)\n@@ ")
    assert leaks(diff) == []
    assert leaks(repr(made)) == []
    assert leaks(repr(wanted)) == [] or wanted.agent_env
    undone = config.deprovision(made.content, version=V1_1)
    assert leaks(repr(undone.changes) + config.masked_diff(made.content, undone.content, name="x")) == []


def test_the_lines_of_a_diff() -> None:
    """One example whole."""
    made = config.edit(HOLDER.encode(), Wanted(connection_string=STRING, agent_auth=AUTH), version=V1_1)
    assert config.masked_diff(HOLDER.encode(), made.content, name="f").splitlines() == [
        "--- f (before)",
        "+++ f (after)",
        "@@ -1,6 +1,6 @@",
        " provisioning:",
        '   source: "manual"',
        '-  device_connection_string: "HostName=fabrikam.azure-devices.net;DeviceId=press-00;SharedAccessKey=***"',
        '+  device_connection_string: "HostName=contoso.azure-devices.net;DeviceId=press-01;SharedAccessKey=***"',
        "   dynamic_reprovisioning: false",
        " agent:",
        '   name: "edgeAgent"',
        "@@ -12,8 +12,8 @@",
        '     image: "mcr.microsoft.com/azureiotedge-agent:1.0"',
        "     auth:",
        '       username: "reader"',
        "-      password: ***",
        '-      serveraddress: "old.example"',
        "+      password: ***",
        '+      serveraddress: "registry.example"',
        ' hostname: "press-01"',
        " connect:",
        '   management_uri: "unix:///var/run/iotedge/mgmt.sock"',
    ]


def test_two_keys_that_differ_are_seen_to_differ() -> None:
    """The lines are compared before they are masked: a rotated key is a change."""
    old, new = (changed(PLAIN, (KEY, key)).encode() for key in ("QUJD", "REVG"))
    lines = config.masked_diff(old, new, name="f").splitlines()
    assert len([line for line in lines[2:] if line.startswith(("-", "+"))]) == 2
    assert config.masked_diff(old, old, name="f") == ""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(changed(HOLDER, ('source: "manual"', f'source: "{OLD}"')), id="as a source"),
        pytest.param(changed(HOLDER, ("dynamic_reprovisioning: false", f'dynamic_reprovisioning: "{OLD_PASSWORD}"')), id="as a boolean"),
        pytest.param(changed(HOLDER, (f'"{OLD}"', f"[{OLD_PASSWORD}]")), id="as a list"),
        pytest.param(changed(HOLDER, (OLD, OLD.replace("HostName", "Hostname"))), id="in a malformed string"),
        pytest.param(changed(HOLDER, (f'"{OLD}"', f'"{OLD}')), id="a quotation mark missing"),
        pytest.param(changed(HOLDER, (f': "{OLD}"', f'"{OLD}"')), id="a colon missing"),
        pytest.param(changed(HOLDER, (f'"{OLD}"', f'"{OLD}" "{OLD_PASSWORD}"')), id="two values"),
        pytest.param(changed(HOLDER, (f'"{OLD}"', f"*{OLD_PASSWORD}")), id="as an alias that is not there"),
        pytest.param(changed(HOLDER, (f'"{OLD}"', f"!{OLD_PASSWORD} x")), id="as a tag"),
        pytest.param(changed(HOLDER, (f'"{OLD}"', f'"\\{OLD_PASSWORD}"')), id="behind a backslash"),
        pytest.param(changed(HOLDER, ('"fd://iotedge.socket"', f'"{OLD_PASSWORD}"')), id="as a URI"),
        pytest.param(HOLDER + HOLDER, id="everything twice"),
        pytest.param(HOLDER + "---\n" + HOLDER, id="two documents"),
        pytest.param(changed(HOLDER, (f'"{OLD}"', f'"{OLD}\udcff"')), id="bytes that are not UTF-8"),
    ],
)  # fmt: skip
def test_problems_and_exceptions_quote_no_value(text: str) -> None:
    """The daemon's own type errors echo the value; ours do not."""
    content = text.encode(errors="surrogateescape")
    for version in (V1_0_10, V1_1):
        assert leaks(repr(config.check(content, version=version))) == []
        acts = (
            config.load,
            config.repair,
            config.deprovision,
            functools.partial(config.edit, wanted=Wanted(hostname="h")),
        )
        for act in acts:
            _, refused = attempt(act, content, version=version)
            assert refused is None or refused.problems
            assert leaks(f"{refused} {refused!r} {refused and refused.problems}") == []


def test_a_repr_of_what_holds_secrets_has_none() -> None:
    """Values that end up in logs: what is wanted, what was understood, what was made."""
    meant = config.load(HOLDER.encode(), version=V1_1)
    wanted = Wanted(connection_string=STRING, agent_auth=AUTH)
    assert leaks(repr((meant, wanted, AUTH, config.parse_connection_string(OLD)))) == []
    assert STRING not in repr(wanted)
