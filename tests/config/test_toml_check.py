"""config.toml judged as `iotedge config apply` judges it."""

import dataclasses

import pytest

from edgeherd import config

V15 = config.Version.parse("1.5.44")
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
STRING = f"HostName=contoso.azure-devices.net;DeviceId=press-01;SharedAccessKey={KEY}"
GOOD = f'[provisioning]\nsource = "manual"\nconnection_string = "{STRING}"\n'
PARTS = f"""[provisioning]
source = "manual"
iothub_hostname = "contoso.azure-devices.net"
device_id = "press-01"

[provisioning.authentication]
method = "sas"
device_id_pk = {{ value = "{KEY}" }}
"""
AGENT = '[agent]\nname = "edgeAgent"\ntype = "docker"\n[agent.config]\nimage = "x"\n'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file, and what is said of it: rule and line of each problem."""

    sentence: str
    text: str
    valid: bool
    editable: bool
    problems: tuple[tuple[str, int | None], ...] = ()


CASES = (
    Case(sentence="a connection string", text=GOOD, valid=True, editable=True),
    Case(sentence="hub, device and key one by one", text=PARTS, valid=True, editable=True),
    Case(sentence="a key without its padding", text=PARTS.replace("MDE=", "MDE"), valid=True, editable=True),
    Case(sentence="a key in a file", text=PARTS.replace(f'value = "{KEY}"', 'uri = "file:///k"'), valid=True, editable=True),
    Case(sentence="nothing at all", text="", valid=False, editable=True, problems=(("missing", None),)),
    Case(sentence="comments only", text="# [provisioning]\n", valid=False, editable=True, problems=(("missing", None),)),
    Case(sentence="CRLF", text=GOOD.replace("\n", "\r\n"), valid=True, editable=True),
    Case(sentence="a byte order mark, which the parser skips", text="\ufeff" + GOOD, valid=True, editable=False, problems=(("bom", 1),)),
    Case(sentence="two provisioning sections", text=GOOD + "\n" + GOOD, valid=False, editable=False, problems=(("syntax", 5),)),
    Case(sentence="a key twice", text=GOOD + 'source = "dps"\n', valid=False, editable=False, problems=(("syntax", 4),)),
    Case(sentence="the template's bare word", text="auto_reprovisioning_mode = Dynamic\n" + GOOD, valid=False, editable=False, problems=(("syntax", 1),)),
    Case(sentence="a mode in another case", text='auto_reprovisioning_mode = "dynamic"\n' + GOOD, valid=False, editable=False, problems=(("value", 1),)),
    Case(sentence="a hostname that is a number", text="hostname = 1\n" + GOOD, valid=False, editable=False, problems=(("type", 1),)),
    Case(sentence="YAML in a TOML file", text="provisioning:\n  source: manual\n", valid=False, editable=False, problems=(("dialect", None),)),
    Case(sentence="an inline table over two lines, which is TOML 1.1", text=GOOD + "[x]\na = {b = 1,\n c = 2}\n", valid=False, editable=False, problems=(("syntax", 5),)),
    Case(sentence="source in capitals", text=GOOD.replace("manual", "Manual"), valid=False, editable=True, problems=(("value", 2),)),
    Case(sentence="no source", text=GOOD.replace('source = "manual"\n', ""), valid=False, editable=True, problems=(("missing", 1),)),
    Case(sentence="manual and nothing else", text='[provisioning]\nsource = "manual"\n', valid=False, editable=True, problems=(("missing", 1),)),
    Case(sentence="an empty string", text=GOOD.replace(STRING, ""), valid=False, editable=True, problems=(("connection-string-empty", 3),)),
    Case(sentence="no key in the string", text=GOOD.replace(";SharedAccessKey=" + KEY, ""), valid=False, editable=True, problems=(("connection-string-malformed", 3),)),
    Case(sentence="names in another case", text=GOOD.replace("HostName", "hostname"), valid=False, editable=True, problems=(("connection-string-malformed", 3),)),
    Case(sentence="a key that is not base64", text=GOOD.replace(KEY, "a-b_"), valid=False, editable=True, problems=(("connection-string-malformed", 3),)),
    Case(sentence="an '=' in the device id, which this parser takes", text=GOOD.replace("press-01", "press=01"), valid=True, editable=True),
    Case(sentence="parts without a key", text=PARTS.replace(f'device_id_pk = {{ value = "{KEY}" }}\n', ""), valid=False, editable=True, problems=(("missing", 6),)),
    Case(sentence="a key of the wrong alphabet", text=PARTS.replace(KEY, "a-b_"), valid=False, editable=True, problems=(("base64", 8),)),
    Case(sentence="DPS with TPM", text='[provisioning]\nsource = "dps"\nglobal_endpoint = "https://g"\nid_scope = "s"\n[provisioning.attestation]\nmethod = "tpm"\nregistration_id = "r"\n', valid=True, editable=True),
    Case(sentence="DPS without an endpoint", text='[provisioning]\nsource = "dps"\nid_scope = "s"\n[provisioning.attestation]\nmethod = "tpm"\nregistration_id = "r"\n', valid=False, editable=True, problems=(("missing", 1),)),
    Case(sentence="no provisioning wanted", text='[provisioning]\nsource = "none"\n', valid=True, editable=True),
    Case(sentence="an agent", text=GOOD + AGENT, valid=True, editable=True),
    Case(sentence="an agent without its image", text=GOOD + AGENT.replace('image = "x"\n', ""), valid=False, editable=True, problems=(("missing", 7),)),
    Case(sentence="a number in the agent's environment", text=GOOD + AGENT + "[agent.env]\nA = 1\n", valid=False, editable=False, problems=(("type", 10),)),
    Case(sentence="moby_runtime without its network", text=GOOD + '[moby_runtime]\nuri = "unix:///x"\n', valid=False, editable=False, problems=(("missing", 4),)),
    Case(sentence="edge_ca in none of its forms", text=GOOD + '[edge_ca]\ncert = "file:///x"\n', valid=False, editable=False, problems=(("missing", 4),)),
    Case(sentence="keys that nobody knows", text=GOOD + "[mine]\na = 1\n", valid=True, editable=True),
    Case(sentence="provisioning that is no table", text="provisioning = 1\n", valid=False, editable=True, problems=(("type", 1),)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_a_file_is_judged_as_the_daemon_judges_it(case: Case) -> None:
    """With the line that a person has to look at, and without its secrets."""
    verdict = config.check(case.text.encode(), version=V15)
    found = tuple((problem.rule, problem.line) for problem in verdict.problems)
    assert (verdict.valid, verdict.editable, found) == (case.valid, case.editable, case.problems)
    assert KEY not in str(verdict)


def test_files_of_another_encoding_are_refused() -> None:
    """By their line."""
    verdict = config.check(b'hostname = "caf\xe9"\n', version=V15)
    assert [(p.rule, p.line) for p in verdict.problems] == [("encoding", 1)]


@pytest.mark.parametrize(
    ("text", "source", "string"),
    [
        (GOOD, "manual.device_connection_string", STRING),
        (PARTS, "manual.sas", STRING),
        ('[provisioning]\nsource = "none"\n', "none", ""),
    ],
    ids=["a connection string", "its parts", "none"],
)
def test_what_the_daemon_reads(text: str, source: str, string: str) -> None:
    """Parts are shown as the connection string that they make."""
    settings = config.load(text.encode(), version=V15)
    assert (settings.source, settings.connection_string) == (source, string)


def test_the_image_that_is_left_out_is_that_of_the_version() -> None:
    """As `default_agent` has it."""
    images = [config.load(GOOD.encode(), version=config.Version.parse(v)).agent_image for v in ("1.2.0", "1.5.44")]
    assert images == ["mcr.microsoft.com/azureiotedge-agent:1.2", "mcr.microsoft.com/azureiotedge-agent:1.5"]
