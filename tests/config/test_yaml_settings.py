"""The files that IoT Edge tests its own settings with, and the verdicts that their README gives."""

import re

import pytest
from yaml_samples import STRING, V1_0_10, V1_1, active_sections, difference, fixture, said, told

from edgeherd import config
from edgeherd.config import Wanted

GOOD = [
    "case_sensitive.yaml",
    "sample_settings.dps.default.yaml",
    "sample_settings.dps.sym.yaml",
    "sample_settings.dps.tpm.yaml",
    "sample_settings.dyn.repro.yaml",
    "sample_settings.external.1.yaml",
    "sample_settings.external.2.yaml",
    "sample_settings.manual.auth.cs.yaml",
    "sample_settings.network.yaml",
    "sample_settings.tg.filepaths.yaml",
    "sample_settings.tls.yaml",
    "sample_settings.yaml",
    "sample_settings_default_cert.yaml",
]
BAD = {
    "bad_sample_settings.yaml": ("syntax", 10),
    "bad_sample_settings.cs.2.yaml": ("provisioning", 2),
    "bad_sample_settings.cs.3.yaml": ("connection-string-empty", 4),
    "bad_sample_settings.cs.4.yaml": ("connection-string-placeholder", 4),
    "bad_settings.manual.cs.1.yaml": ("provisioning", 2),
    "bad_settings.manual.cs.2.yaml": ("connection-string-malformed", 9),
    "bad_settings.manual.cs.3.yaml": ("missing", 4),
    "bad_settings.manual.cs.4.yaml": ("connection-string-empty", 6),
    "bad_settings.manual.x509.1.yaml": ("missing", 4),
    "bad_settings.manual.x509.2.yaml": ("missing", 4),
    "bad_settings.manual.x509.3.yaml": ("missing", 4),
    "bad_settings.manual.x509.4.yaml": ("missing", 4),
    "bad_settings.manual.x509.5.yaml": ("provisioning", 2),
    "bad_sample_settings.dps.default.yaml": ("provisioning", 2),
    "bad_sample_settings.dps.tpm.yaml": ("provisioning", 6),
    "bad_sample_settings.dps.sym.yaml": ("provisioning", 6),
    "bad_settings.dps.x509.1.yaml": ("missing", 6),
    "bad_settings.dps.x509.2.yaml": ("missing", 6),
    "bad_settings.dps.x509.3.yaml": ("uri", 9),
    "bad_settings.dps.x509.4.yaml": ("uri", 10),
    "bad_sample_settings.dyn.repro.yaml": ("type", 5),
}
"""The rule that each breaks, and the line that a person has to look at."""

OWNED = re.compile(
    r"(# )?(provisioning:| +[\"']?(source|device_connection_string|dynamic_reprovisioning|authentication|attestation|method"
    r"|iothub_hostname|device_id|identity_cert|identity_pk|global_endpoint|scope_id|registration_id|symmetric_key|endpoint)"
    r"[\"']?:.*)|# Manual provisioning configuration using a connection string|"
)
WANTED = Wanted(connection_string=STRING)


def test_the_readme_says_what_this_table_says() -> None:
    """The verdicts are those of the fixtures' README, file by file."""
    readme = fixture("README.md").decode()
    rows = re.findall(r"^\| `([\w.]+\.yaml)` \| (good|bad at load|bad at use) \|", readme, re.MULTILINE)
    uses = {name for name, (rule, _) in BAD.items() if rule.startswith("connection-string")}
    loads = BAD.keys() - uses
    verdicts = {"good": set(GOOD), "bad at load": loads, "bad at use": uses}
    assert {verdict: {name for name, said in rows if said == verdict} for verdict in verdicts} == verdicts


@pytest.mark.parametrize("version", [V1_0_10, V1_1], ids=str)
@pytest.mark.parametrize("name", GOOD)
def test_a_good_one_is_valid_and_can_be_edited_again_and_undone(name: str, version: config.Version) -> None:
    """Taken as it is; then one active section with our string, and nothing but the provisioning differs."""
    before = fixture("settings", name)
    assert told(config.check(before, version=version)) == (True, True, [])
    made = config.edit(before, WANTED, version=version)
    assert told(config.check(made.content, version=version)) == (True, True, [])
    then, now = config.load(before, version=version), config.load(made.content, version=version)
    assert (now.source, now.connection_string) == ("manual.device_connection_string", STRING)
    assert (now.hostname, now.agent_image, now.agent_env) == (then.hostname, then.agent_image, then.agent_env)
    assert active_sections(made.content.replace(b'"provisioning"', b"provisioning")) == 1
    assert {**said(before), "provisioning": None} == {**said(made.content), "provisioning": None}
    gone, come = difference(before, made.content)
    assert [line for line in [*gone, *come] if not OWNED.fullmatch(line)] == []
    assert config.edit(made.content, WANTED, version=version) == config.Edit(
        content=made.content, changes=(), restarts=False
    )
    undone = config.deprovision(made.content, version=version)
    assert config.check(undone.content, version=version).problems[0].rule == "connection-string-placeholder"
    assert STRING.encode() not in undone.content
    assert config.deprovision(undone.content, version=version).content == undone.content
    assert config.edit(undone.content, WANTED, version=version).content == made.content


@pytest.mark.parametrize("version", [V1_0_10, V1_1], ids=str)
@pytest.mark.parametrize(("name", "problem"), BAD.items(), ids=BAD)
def test_a_bad_one_is_refused_for_its_reason(name: str, problem: tuple[str, int], version: config.Version) -> None:
    """One error each; where only the provisioning is wrong, the editor puts it right."""
    content = fixture("settings", name)
    editable = problem[0] != "syntax"
    assert told(config.check(content, version=version)) == (False, editable, [(*problem, "error")])
    with pytest.raises(config.InvalidConfigError):
        config.load(content, version=version)
    if editable:
        made = config.edit(content, WANTED, version=version)
        assert told(config.check(made.content, version=version)) == (True, True, [])
        assert config.load(made.content, version=version).connection_string == STRING
    else:
        with pytest.raises(config.UneditableError):
            config.edit(content, WANTED, version=version)


@pytest.mark.parametrize("case", ["manual-connection-string", "manual-connection-string-2", "dps-symmetric-key"])
def test_what_config_import_takes_is_taken(case: str) -> None:
    """The 1.0/1.1 files that upstream tests its migration with."""
    content = fixture("apply-1.5", case, "old-config.yaml")
    assert told(config.check(content, version=V1_1)) == (True, True, [])
    made = config.edit(content, WANTED, version=V1_1)
    assert config.load(made.content, version=V1_1).connection_string == STRING
