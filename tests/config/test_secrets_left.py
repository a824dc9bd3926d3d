"""Whatever becomes a comment loses its secrets, and no comment keeps a key that is the operator's own."""

import dataclasses

import pytest

from edgeherd import config
from edgeherd.config import Wanted

V11, V15 = config.Version.parse("1.1.15"), config.Version.parse("1.5.44")
OURS = "bmV3LWtleS1vZi1ub2JvZHk="
STRING = f"HostName=northmill.azure-devices.net;DeviceId=press-07;SharedAccessKey={OURS}"
THEIRS = "b2xkLWtleS1vZi1ub2JvZHk="
STALE = f"HostName=old.azure-devices.net;DeviceId=press-07;SharedAccessKey={THEIRS}"
ANOTHER = "YW5vdGhlci1rZXktb2Ytbm9ib2R5"
X509 = config.X509(iothub_hostname="h", device_id="press-07", identity_cert="file:///c", identity_pk="file:///k")
SECTION = f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING}"\n'
YAML_SECTION = f'provisioning:\n  source: "manual"\n  device_connection_string: "{STRING}"\n'
DPS = '[provisioning]\nsource = "dps"\nglobal_endpoint = "https://d.example"\nid_scope = "s"\n'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file whose section is replaced, and the secrets in it."""

    sentence: str
    text: str
    secrets: tuple[str, ...] = (THEIRS.rstrip("="),)
    wanted: Wanted = dataclasses.field(default_factory=lambda: Wanted(connection_string=STRING))


TOML = (
    Case(sentence="a string", text=SECTION.replace(STRING, STALE), wanted=Wanted(x509=X509)),
    Case(sentence="a string beside a certificate", text=f'[provisioning]\nsource = "manual"\nconnection_string = "{STALE}"\niothub_hostname = "h"\ndevice_id = "d"\n[provisioning.authentication]\nmethod = "x509"\nidentity_cert = "file:///c"\nidentity_pk = "file:///k"\n'),
    Case(sentence="DPS with a stale string", text=f'{DPS}connection_string = "{STALE}" # of before: {STALE}\n[provisioning.attestation]\nmethod = "tpm"\nregistration_id = "r"\n'),
    Case(sentence="DPS with a key in braces", text=f'{DPS}attestation = {{ method = "symmetric_key", registration_id = "r", symmetric_key = {{ value = "{THEIRS}" }} }}\n'),
    Case(sentence="DPS with a key in a table", text=f'{DPS}[provisioning.attestation]\nmethod = "symmetric_key"\nregistration_id = "r"\n[provisioning.attestation.symmetric_key]\nvalue = "{THEIRS}"\n'),
    Case(sentence="a section in braces", text=f'provisioning = {{ source = "manual", connection_string = "{STALE}", mine = ["{STALE}"] }}\n', wanted=Wanted(x509=X509)),
    Case(sentence="a string in several lines", text=f'[provisioning]\nsource = "manual"\nconnection_string = """\\\n  {STALE}"""\n', wanted=Wanted(x509=X509)),
    Case(sentence="a string with an escape", text=SECTION.replace(STRING, STALE.replace("old", "ol\\u0064")), wanted=Wanted(x509=X509)),
    Case(sentence="an EST server's password and a token's PIN", text='[provisioning]\nsource = "manual"\niothub_hostname = "h"\ndevice_id = "d"\n[provisioning.authentication]\nmethod = "x509"\nidentity_pk = "pkcs11:token=t;object=o?pin-value=four-digits"\n[provisioning.authentication.identity_cert]\nmethod = "est"\npassword = "hush-hush"\n', secrets=("four-digits", "hush-hush")),
)  # fmt: skip
YAML = (
    Case(sentence="a string", text=YAML_SECTION.replace(STRING, STALE), wanted=Wanted(x509=X509)),
    Case(sentence="a string beside a certificate", text=YAML_SECTION.replace(STRING, STALE) + '  authentication:\n    method: "x509"\n    iothub_hostname: "h"\n    device_id: "d"\n    identity_cert: "file:///c"\n    identity_pk: "file:///k"\n'),
    Case(sentence="DPS with a stale string", text=f'provisioning:\n  source: "dps"\n  device_connection_string: {STALE} # of before: {STALE}\n  global_endpoint: "https://d.example"\n  scope_id: "s"\n  registration_id: "r"\n'),
    Case(sentence="DPS with a key", text=f'provisioning:\n  source: "dps"\n  global_endpoint: "https://d.example"\n  scope_id: "s"\n  attestation:\n    method: "symmetric_key"\n    registration_id: "r"\n    symmetric_key: "{THEIRS}"\n'),
    Case(sentence="curly quotation marks", text=f"provisioning:\n  source: \u201cmanual\u201d\n  device_connection_string: \u201c{STALE}\u201d\n"),
    Case(sentence="a string in a block", text=f"provisioning:\n  source: Manuel\n  device_connection_string: >-\n    {STALE}\n"),
    Case(sentence="braces", text=f'provisioning: {{source: "dps", device_connection_string: "{STALE}"}}\n'),
    Case(sentence="a list of them", text=f'provisioning:\n  source: "dps"\n  mine:\n    - "{STALE}"\n'),
)  # fmt: skip


@pytest.mark.parametrize("case", TOML, ids=lambda case: case.sentence)
def test_a_section_of_config_toml_that_becomes_a_comment(case: Case) -> None:
    """It is there, line by line, and no secret is."""
    _becomes_a_comment(case, V15)


@pytest.mark.parametrize("case", YAML, ids=lambda case: case.sentence)
def test_a_section_of_config_yaml_that_becomes_a_comment(case: Case) -> None:
    """It is there, line by line, and no secret is."""
    _becomes_a_comment(case, V11)


def _becomes_a_comment(case: Case, version: config.Version) -> None:
    assert all(secret in case.text for secret in case.secrets)
    after = config.edit(case.text.encode(), case.wanted, version=version).content.decode()
    assert [secret for secret in case.secrets if secret in after] == []
    assert "# " in after
    assert config.edit(after.encode(), case.wanted, version=version).changes == ()


REMARKS = (
    pytest.param(f"# {{}}connection_string{{}} {STRING}\n", id="the string"),
    pytest.param(f"# our key: {OURS}\n", id="the key"),
    pytest.param(f"# our key: {OURS.rstrip('=')} (no padding)\n", id="the key without its padding"),
)


@pytest.mark.parametrize("remark", REMARKS)
@pytest.mark.parametrize(("section", "version"), [(SECTION, V15), (YAML_SECTION, V11)], ids=["TOML", "YAML"])
def test_an_edit_sweeps_the_comments(section: str, version: config.Version, remark: str) -> None:
    """Somebody kept our section in a comment and wrote another: after the correction the key is there once."""
    drifted = remark + section.replace(STRING, STALE) + remark
    after = config.edit(drifted.encode(), Wanted(connection_string=STRING), version=version).content.decode()
    assert (after.count(OURS.rstrip("=")), after.count(THEIRS.rstrip("="))) == (1, 0)
    right = (remark + section).encode()
    assert config.edit(right, Wanted(connection_string=STRING), version=version).content == right


@pytest.mark.parametrize("remark", REMARKS)
@pytest.mark.parametrize(("section", "version"), [(SECTION, V15), (YAML_SECTION, V11)], ids=["TOML", "YAML"])
def test_an_undo_sweeps_the_comments(section: str, version: config.Version, remark: str) -> None:
    """After a deletion the key is nowhere; somebody else's stays."""
    text = f"# {ANOTHER}\n{remark}{section}{remark}"
    after = config.deprovision(text.encode(), version=version).content.decode()
    assert (after.count(OURS.rstrip("=")), after.count(ANOTHER)) == (0, 1)


@pytest.mark.parametrize("remark", REMARKS[:1])
@pytest.mark.parametrize(("section", "version"), [(SECTION, V15), (YAML_SECTION, V11)], ids=["TOML", "YAML"])
def test_a_file_that_is_somebody_elses_by_now_loses_our_key_alone(
    section: str, version: config.Version, remark: str
) -> None:
    """A comment with a connection string of our device; the section of the other device stays to the byte."""
    other = section.replace("press-07", "press-08").replace(OURS, THEIRS)
    text = f"{remark.replace('{}', '')}# {STALE.replace('press-07', 'press-09')}\n{other}"
    swept = config.sweep(text.encode(), "press-07", version=version)
    assert swept.content.decode() == text.replace(OURS, "<REMOVED>")
    assert (len(swept.changes), swept.restarts) == (1, False)
    assert config.sweep(swept.content, "press-07", version=version).changes == ()
