"""What the daemons of IoT Edge 1.0 and 1.1 say about a config.yaml, and whether the editor would touch it."""

import pytest
from yaml_samples import (
    DEBIAN,
    GOOD,
    KEY,
    OLD,
    PLAIN,
    STRING,
    V1_0_9,
    V1_0_10,
    V1_1,
    changed,
    refusal,
    told,
)

from edgeherd import config
from edgeherd.config import Version, Wanted

DYNAMIC = "dynamic_reprovisioning: false"
CS = f'  device_connection_string: "{STRING}"\n'
NESTED = f'  authentication:\n    method: "device_connection_string"\n    device_connection_string: "{STRING}"\n'
SECOND = f'provisioning:\n  source: "manual"\n  device_connection_string: "{OLD}"\n'
OLDER = [Version.parse(text) for text in ("1.0.0", "1.0.7.1")]
NULLS_REFUSED = [Version.parse(text) for text in ("1.0.8", "1.0.9.5", "1.0.10.3")]
NULLS_TAKEN = [Version.parse(text) for text in ("1.0.10.4", "1.1.0", "1.1.15")]

Told = list[tuple[str, int | None, str]]


def row(sentence: str, replacement: tuple[str, str], *problems: tuple[str, int | None]) -> object:
    """A file that both 1.0.10 and 1.1 refuse, for errors only, and that an edit would put right or leave alone."""
    return pytest.param(replacement, [(rule, line, "error") for rule, line in problems], id=sentence)


@pytest.mark.parametrize("version", [V1_0_10, V1_1], ids=str)
@pytest.mark.parametrize(
    ("replacement", "problems"),
    [
        row("a plain file", ("", "")),
        row("a bare true", (DYNAMIC, "dynamic_reprovisioning: true")),
        row("a boolean in quotation marks", (DYNAMIC, 'dynamic_reprovisioning: "false"'), ("type", 4)),
        row("yes is no boolean", (DYNAMIC, "dynamic_reprovisioning: yes"), ("type", 4)),
        row("True is no boolean", (DYNAMIC, "dynamic_reprovisioning: True"), ("type", 4)),
        row("no source means manual", ('  source: "manual"\n', "")),
        row("the source in upper case", ('"manual"', '"Manual"'), ("value", 2)),
        row("an unknown source", ('"manual"', '"magic"'), ("value", 2)),
        row("the source plain", ('"manual"', "manual")),
        row("an unknown key", (DYNAMIC, "sneeze: 5")),
        row("always_reprovision_on_startup under manual", (DYNAMIC, "always_reprovision_on_startup: maybe")),
        row("no string at all", (CS, ""), ("provisioning", 1)),
        row("the nested form", (CS, NESTED)),
        row("the flat and the nested form", (CS, CS + NESTED), ("provisioning", 1)),
        row("a connection string in single quotation marks", (f'"{STRING}"', f"'{STRING}'")),
        row("a connection string without quotation marks", (f'"{STRING}"', STRING)),
        row("a connection string as a block", (f'"{STRING}"', f"|-\n    {STRING}")),
        row("a comment behind the connection string", (f'"{STRING}"', f'"{STRING}"  # mine')),
        row("the section in braces", (PLAIN[: PLAIN.index("agent:")], f'provisioning: {{source: "manual", device_connection_string: "{STRING}"}}\n')),
    ],
)  # fmt: skip
def test_the_provisioning_section(replacement: tuple[str, str], problems: Told, version: Version) -> None:
    """Valid without problems, and always editable: an edit makes the section right."""
    content = changed(PLAIN, replacement).encode()
    assert told(config.check(content, version=version)) == (not problems, True, problems)


@pytest.mark.parametrize("version", [V1_0_10, V1_1], ids=str)
@pytest.mark.parametrize(
    ("replacement", "problems"),
    [
        row("a number as host name", ('hostname: "press-01"', "hostname: 17"), ("type", 12)),
        row("nothing as host name", ('hostname: "press-01"', "hostname: [press-01]"), ("type", 12)),
        row("a number in the environment", ("env: {}", "env:\n    DEPTH: 3"), ("type", 9)),
        row("a boolean in the environment", ("env: {}", "env: {VERBOSE: true}"), ("type", 8)),
        row("a list as environment", ("env: {}", "env: [a]"), ("type", 8)),
        row("a bare number as password", ("auth: {}", "auth:\n      password: 0123"), ("type", 12)),
        row("text where auth is a mapping", ("auth: {}", 'auth: "reader"'), ("type", 11)),
        row("an image that is a number", ('"mcr.microsoft.com/azureiotedge-agent:1.0"', "1.0"), ("type", 10)),
        row("a listen URI without scheme", ('"fd://iotedge.socket"', '"iotedge.socket"'), ("uri", 18)),
        row("text as sections", ("listen:\n", "listen: here\nunknown:\n"), ("type", 16)),
        row("an infinite watchdog", ("homedir:", "watchdog:\n  max_retries: infinite\nhomedir:"), ("type", 20)),
        row("a watchdog below zero", ("homedir:", "watchdog:\n  max_retries: -1\nhomedir:"), ("value", 20)),
        row("too many days for a certificate", ("homedir:", "certificates:\n  auto_generated_ca_lifetime_days: 70000\nhomedir:"), ("value", 20)),
        row("a network without a name", ('network: "azure-iot-edge"', "network:\n    ipv6: true"), ("missing", 22)),
    ],
)  # fmt: skip
def test_what_is_wrong_elsewhere_is_not_edited_around(
    replacement: tuple[str, str], problems: Told, version: Version
) -> None:
    """The daemon would stop at it after an edit too, so there is none."""
    content = changed(PLAIN, replacement).encode()
    assert told(config.check(content, version=version)) == (False, False, problems)
    with pytest.raises(config.UneditableError) as caught:
        config.edit(content, Wanted(connection_string=OLD), version=version)
    assert refusal(caught) == [(rule, line) for rule, line, _ in problems]


def test_the_editor_puts_right_what_it_owns() -> None:
    """A host name that is a number is no hindrance when the host name is ours to write."""
    content = changed(PLAIN, ('hostname: "press-01"', "hostname: 17")).encode()
    made = config.edit(content, Wanted(hostname="press-01"), version=V1_1)
    assert made.content.decode() == PLAIN


@pytest.mark.parametrize(
    ("replacement", "line", "later"),
    [
        pytest.param(("auth: {}", "auth:"), 11, [], id="no credentials"),
        pytest.param(("auth: {}", "auth: ~"), 11, [], id="a tilde"),
        pytest.param(("homedir:", "certificates:\n  # device_ca_cert: x\nhomedir:"), 19, [], id="certificates all commented"),
        pytest.param(("homedir:", "unknown: [1, null]\nhomedir:"), 19, [], id="in a list of an unknown key"),
        pytest.param(("env: {}", "env:"), 8, [("type", 8, "error")], id="no environment"),
    ],
)  # fmt: skip
def test_nulls_by_version(replacement: tuple[str, str], line: int, later: Told) -> None:
    """1.0.8 to 1.0.10.3 refuse any null; afterwards only a null environment is refused."""
    content = changed(PLAIN, replacement).encode()
    for version in NULLS_REFUSED:
        assert ("null", line, "error") in told(config.check(content, version=version))[2]
    for version in NULLS_TAKEN:
        assert told(config.check(content, version=version)) == (not later, not later, later)


@pytest.mark.parametrize(
    ("replacement", "versions", "verdict"),
    [
        pytest.param((DYNAMIC, "dynamic_reprovisioning: yes"), [*OLDER, V1_0_9], (True, True, []), id="an unknown key before 1.0.10"),
        pytest.param((CS, NESTED), [*OLDER, V1_0_9], (False, True, [("missing", 1, "error")]), id="no nested form before 1.0.10"),
        pytest.param((CS, CS + NESTED), [*OLDER, V1_0_9], (True, True, []), id="flat and nested before 1.0.10: the flat one counts"),
        pytest.param(("homedir:", "watchdog: soon\nhomedir:"), OLDER, (True, True, []), id="no watchdog before 1.0.8"),
        pytest.param(("homedir:", "allow_elevated_docker_permissions: maybe\nhomedir:"), [V1_0_10], (True, True, []), id="an unknown key before 1.1.7"),
        pytest.param(("homedir:", "allow_elevated_docker_permissions: maybe\nhomedir:"), [V1_1], (False, False, [("type", 19, "error")]), id="a boolean since 1.1.7"),
        pytest.param(("homedir:", "# allow\nallow_elevated_docker_permissions = false\nhomedir:"), [V1_1], (False, False, [("syntax", 21, "error")]), id="the 1.1.7 template followed to the letter"),
    ],
)  # fmt: skip
def test_keys_by_version(
    replacement: tuple[str, str], versions: list[Version], verdict: tuple[bool, bool, Told]
) -> None:
    """A version looks only at what it knows."""
    content = changed(PLAIN, replacement).encode()
    for version in versions:
        assert told(config.check(content, version=version)) == verdict


def bad(sentence: str, content: str | bytes, *problems: tuple[str, int | None, str], valid: bool = False) -> object:
    """A file that the editor leaves alone."""
    return pytest.param(content.encode() if isinstance(content, str) else content, valid, list(problems), id=sentence)


@pytest.mark.parametrize("version", [V1_0_10, V1_1], ids=str)
@pytest.mark.parametrize(
    ("content", "valid", "problems"),
    [
        bad("a byte order mark", b"\xef\xbb\xbf" + PLAIN.encode(), ("bom", 1, "error")),
        bad("UTF-16", PLAIN.encode("utf-16"), ("encoding", 1, "error")),
        bad("latin-1 on line 12", changed(PLAIN, ('press-01"\ncon', 'preß"\ncon')).encode("latin-1"), ("encoding", 12, "error")),
        bad("more than 256 KiB", PLAIN.encode() + b"#" * 256 * 1024, ("size", None, "error")),
        bad("a NUL behind everything", PLAIN + "\0", ("control-character", 23, "warning"), valid=True),
        bad("a bell in a comment", PLAIN + "# \a\n", ("control-character", 23, "warning"), valid=True),
        bad("a tab as indentation", changed(PLAIN, ("  source", "\tsource")), ("tab", 2, "error")),
        bad("one leading space", changed(PLAIN, ("provisioning:", " provisioning:")), ("leading-space", 1, "error")),
        bad("a later leading space", changed(PLAIN, ("hostname:", " hostname:")), ("leading-space", 12, "error")),
        bad("children below an empty mapping", changed(PLAIN, ("env: {}", 'env: {}\n    A: "b"')), ("syntax", 9, "error")),
        bad("a single backslash", changed(PLAIN, ("/var/lib/iotedge", "C:\\iotedge")), ("syntax", 19, "error")),
        bad("two documents", PLAIN + "---\n" + PLAIN, ("documents", 24, "error")),
        bad("two active sections", PLAIN + SECOND, ("duplicate-key", 23, "warning"), valid=True),
        bad("a nested key twice", changed(PLAIN, (DYNAMIC, f"{DYNAMIC}\n  {DYNAMIC}")), ("duplicate-key", 5, "warning"), valid=True),
        bad("an unknown key twice", PLAIN + "x: 1\nx: 2\n", ("duplicate-key", 24, "warning"), valid=True),
        bad("the whole file in braces", f'{{provisioning: {{device_connection_string: "{STRING}"}}}}\n', ("layout", 1, "warning"), valid=True),
        bad("an anchor on our section", changed(PLAIN, ("provisioning:", "provisioning: &p")), ("reference", 1, "warning"), valid=True),
        bad("an alias as our section", changed(PLAIN, ("provisioning:", "x: &p"), ("agent:", "provisioning: *p\nagent:")), ("reference", 5, "warning"), valid=True),
        bad("a tag on our value", changed(PLAIN, (f'"{STRING}"', f'!!str "{STRING}"')), ("reference", 3, "warning"), valid=True),
        bad("a dps section in braces over two lines", changed(PLAIN, (PLAIN[: PLAIN.index("agent:")], 'provisioning: {source: "dps",\n  global_endpoint: "https://x.example", scope_id: "s", registration_id: "r"}\n')), ("layout", 1, "warning"), valid=True),
    ],
)  # fmt: skip
def test_what_the_editor_leaves_alone(content: bytes, *, valid: bool, problems: Told, version: Version) -> None:
    """Refused with a rule and a line: as an error where the daemon refuses too, else as a warning."""
    assert told(config.check(content, version=version)) == (valid, False, problems)
    with pytest.raises(config.UneditableError) as caught:
        config.edit(content, Wanted(connection_string=OLD), version=version)
    assert refusal(caught) == [(rule, line) for rule, line, _ in problems]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("---\n" + PLAIN, id="a document start"),
        pytest.param(PLAIN + "...\n", id="a document end"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(PLAIN.rstrip("\n"), id="no final newline"),
        pytest.param(PLAIN + "\r\n\r\n\r\n", id="what Set-Content leaves behind"),
        pytest.param(PLAIN.replace("\n  ", "\n    "), id="another indentation"),
        pytest.param(PLAIN.replace('"', "'"), id="single quotation marks, as the Windows script writes them"),
        pytest.param(PLAIN + "x: &a {b: 1}\ny: *a\n<<: *a\n", id="anchors and aliases of others"),
        pytest.param(PLAIN + "<<: 1\n? [a, b]\n: 2\n3: 4\n", id="odd keys of others"),
        pytest.param(PLAIN + "provisioned.by: me\n", id="a dotted key that is not ours"),
    ],
)
def test_what_the_daemon_and_the_editor_both_take(content: str) -> None:
    """No problem at all, and an edit of a file that says it already changes nothing."""
    assert config.check(content.encode(), version=V1_1) == GOOD
    made = config.edit(content.encode(), Wanted(connection_string=STRING, hostname="press-01"), version=V1_1)
    assert made == config.Edit(content=content.encode(), changes=(), restarts=False)


def test_a_dotted_key_is_a_path_to_the_daemon() -> None:
    """The library that the daemon merges settings with reads `listen.workload_uri` as a nested key."""
    content = (PLAIN + 'listen.workload_uri: "here"\n').encode()
    assert told(config.check(content, version=V1_1)) == (False, False, [("uri", 23, "error")])


def test_a_file_that_was_cut_off_is_valid_and_means_something_else() -> None:
    """A truncated write passes as valid: the daemon would run as localhost. Only `meaning` tells."""
    whole = DEBIAN.replace(b"<ADD DEVICE CONNECTION STRING HERE>", STRING.encode())
    cut = whole[: whole.index(b"  dynamic_reprovisioning")]
    assert config.check(cut, version=V1_0_10) == GOOD
    assert config.load(cut, version=V1_0_10).hostname == "localhost"
    assert config.load(cut, version=V1_0_10).meaning != config.load(whole, version=V1_0_10).meaning


@pytest.mark.parametrize(
    ("replacement", "same"),
    [
        pytest.param(("provisioning:", "# mine\nprovisioning:"), True, id="a comment"),
        pytest.param(('"manual"', "manual"), True, id="other quotation marks"),
        pytest.param(("  dynamic_reprovisioning: false\n", ""), True, id="a default left out"),
        pytest.param(("homedir:", "unknown: 1\nhomedir:"), True, id="an unknown key"),
        pytest.param((DYNAMIC, "dynamic_reprovisioning: true"), False, id="dynamic reprovisioning"),
        pytest.param((KEY, "QUJD"), False, id="another key"),
        pytest.param(("env: {}", 'env: {a: "b"}'), False, id="an environment variable"),
        pytest.param(("auth: {}", 'auth: {password: "x"}'), False, id="a password"),
        pytest.param(("/var/lib/iotedge", "/home/iotedge"), False, id="the home directory"),
    ],
)
def test_the_meaning_is_what_the_daemon_compares(replacement: tuple[str, str], *, same: bool) -> None:
    """When the parsed settings change the daemon deletes its containers; comments and quoting are free."""
    other = config.load(changed(PLAIN, replacement).encode(), version=V1_1)
    assert (other.meaning == config.load(PLAIN.encode(), version=V1_1).meaning) is same
