"""A key that is wanted not to be in `agent.env` goes, in either dialect; comments and everything else stay."""

import dataclasses

import pytest
from yaml_samples import PLAIN, STRING, V1_0_9, V1_1, changed, refusal

from edgeherd import config
from edgeherd.config import Change, Wanted

V15 = config.Version.parse("1.5.44")
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
TOML = f"""\
[provisioning]
source = "manual"
connection_string = "HostName=contoso.azure-devices.net;DeviceId=press-01;SharedAccessKey={KEY}"
"""
AGENT = """\
[agent]
name = "edgeAgent"
type = "docker"
[agent.config]
image = "i"
"""
LAYOUTS = {
    "LF": lambda text: text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "no final newline": lambda text: text.removesuffix("\n"),
    "CRLF, no final newline": lambda text: text.removesuffix("\n").replace("\n", "\r\n"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A part of a file, the keys that shall go, and what becomes of it."""

    sentence: str
    before: str
    gone: tuple[str, ...] = ("A",)
    after: str
    removed: tuple[str, ...] = ("A",)


YAML_CASES = (
    Case(sentence="a key that is not there", before="  env:\n    B: 'b'\n", after="  env:\n    B: 'b'\n", removed=()),
    Case(sentence="nothing there", before="  env: {}  # none\n", after="  env: {}  # none\n", removed=()),
    Case(sentence="a key that only a comment has", before="  env:\n    B: 'b'\n    # A: 'x'\n", after="  env:\n    B: 'b'\n    # A: 'x'\n", removed=()),
    Case(sentence="the first of two", before="  env:\n    A: \"x\"\n    B: 'b'\n", after="  env:\n    B: 'b'\n"),
    Case(sentence="the last of two", before="  env:\n    B: 'b'\n\n    A: \"x\"\n\n", after="  env:\n    B: 'b'\n\n\n"),
    Case(sentence="the only one", before='  env:  # ours\n    A: "x"\n', after="  env: {}  # ours\n"),
    Case(sentence="all of two", before="  env:\n    A: x\n    C: y\n", gone=("C", "A", "D"), after="  env: {}\n", removed=("A", "C")),
    Case(sentence="the only one, comments around it", before="  env:\n    # above\n    A: x # behind\n    # below\n", after="  env: {}\n    # above\n    # behind\n    # below\n"),
    Case(sentence="a comment behind the line", before="  env:\n    A: \"x # y\"   # it's, why\n    B: b\n", after="  env:\n    # it's, why\n    B: b\n"),
    Case(sentence="a comment before the value", before='  env:\n    A: # one\n      # two\n      "x" # three\n    B: b\n', after="  env:\n    # one\n    # two\n    # three\n    B: b\n"),
    Case(sentence="a comment before the next key", before="  env:\n    A: x\n\n    # of B\n    B: b\n", after="  env:\n\n    # of B\n    B: b\n"),
    Case(sentence="a quoted key", before="  env:\n    'A' : x\n    B: b\n", after="  env:\n    B: b\n"),
    Case(sentence="an escaped key", before='  env:\n    "\\x41": x\n    B: b\n', after="  env:\n    B: b\n"),
    Case(sentence="a quoted section", before='  "env":\n      A: x\n', after='  "env": {}\n'),
    Case(sentence="a block scalar", before="  env:\n    A: | # why\n      x\n      # y\n\n    # of B\n    B: b\n", after="  env:\n    # why\n\n    # of B\n    B: b\n"),
    Case(sentence="a block scalar that keeps its blank lines", before="  env:\n    A: |+\n      x\n\n    B: b\n", after="  env:\n    B: b\n"),
    Case(sentence="a folded text below its key", before="  env:\n    A:\n      x\n      y\n    B: b\n", after="  env:\n    B: b\n"),
    Case(sentence="a text of two lines", before='  env:\n    B: b\n    A: "x\n      # y"\n', after="  env:\n    B: b\n"),
    Case(sentence="no value", before="  env:\n    A:\n    B: b\n", after="  env:\n    B: b\n"),
    Case(sentence="no value, and a comment", before="  env:\n    A:  # none\n    B: b\n", after="  env:\n    # none\n    B: b\n"),
    Case(sentence="a number that is no text", before="  env:\n    1: x\n    B: b\n", gone=("1",), after="  env:\n    1: x\n    B: b\n", removed=()),
    Case(sentence="white space behind everything", before="  env: \n    A: x  \n    B: b \n", after="  env: \n    B: b \n"),
    Case(sentence="braces, the first", before="  env: {A: x, B: b}\n", after="  env: {B: b}\n"),
    Case(sentence="braces, the last", before="  env: { B: b, 'A': x } # c\n", after="  env: { B: b } # c\n"),
    Case(sentence="braces, one in the middle", before='  env: {B: b , "A":"x,y" , C: "}"}\n', after='  env: {B: b , C: "}"}\n'),
    Case(sentence="braces, the only one", before="  env: { A: x }  # c\n", after="  env: {}  # c\n"),
    Case(sentence="braces, a comma too many", before="  env: {A: x,}\n", after="  env: {}\n"),
    Case(sentence="braces, no value", before="  env: {B: , A: }\n", after="  env: {B:  }\n"),
    Case(sentence="braces, no colon", before="  env: {A, B: b}\n", after="  env: {B: b}\n"),
    Case(sentence="braces, all of two", before="  env: {A: x, C: y}\n", gone=("A", "C"), after="  env: {}\n", removed=("A", "C")),
    Case(sentence="braces over lines, the first", before="  env: {\n    A: x,\n    B: b\n  }\n", after="  env: {\n    B: b\n  }\n"),
    Case(sentence="braces over lines, the last", before="  env: {\n    B: b, # b, of B\n    A: x  # of A\n  }\n", after="  env: {\n    B: b, # b, of B\n    # of A\n  }\n"),
    Case(sentence="braces over lines, two on one", before="  env: {A: x, # c\n    B: b}\n", after="  env: { # c\n    B: b}\n"),
    Case(sentence="braces over lines, the only one", before="  env: {\n    A: x # c\n  }\n", after="  env: {\n    # c\n  }\n"),
)  # fmt: skip


def plain(env: str) -> str:
    """A config.yaml with that environment."""
    return changed(PLAIN, ("  env: {}\n", env))


def of(*names: str, **others: str) -> Wanted:
    """A wish that these keys shall not be there, and that others shall."""
    return Wanted(agent_env=dict.fromkeys(names) | others)


@pytest.mark.parametrize("layout", ["LF", "CRLF"])
@pytest.mark.parametrize("case", YAML_CASES, ids=lambda case: case.sentence)
def test_a_key_goes_from_config_yaml(case: Case, layout: str) -> None:
    """Exactly these bytes, told as removals; the second edit finds nothing to do."""
    before, after = (LAYOUTS[layout](plain(env)).encode() for env in (case.before, case.after))
    made = config.edit(before, of(*case.gone), version=V1_1)
    assert made.content.decode() == after.decode()
    assert [(c.action, c.path, c.after) for c in made.changes] == [
        ("Remove", f"agent.env.{name}", "") for name in case.removed
    ]
    assert made.restarts == bool(case.removed)
    assert config.edit(after, of(*case.gone), version=V1_1) == config.Edit(content=after, changes=(), restarts=False)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("agent:\n  env:\n    A: x\n", "agent:\n  env: {}\n"),
        ("agent:\n  env:\n    B: b\n    A: |+\n      x\n", "agent:\n  env:\n    B: b\n"),
        ("agent:\n  env:\n    B: b\n    A: x # c\n", "agent:\n  env:\n    B: b\n    # c\n"),
    ],
    ids=["the only one", "the last one", "a comment"],
)
def test_a_key_goes_from_the_end_of_config_yaml(before: str, after: str, layout: str) -> None:
    """A file without a final newline gets none, and loses no line."""
    top = PLAIN[: PLAIN.index("agent:")]
    made = config.edit(LAYOUTS[layout](top + before).encode(), of("A"), version=V1_1)
    assert made.content.decode() == LAYOUTS[layout](top + after)


@pytest.mark.parametrize(
    ("env", "rule", "line"),
    [
        ("  env:\n    A: &a x\n    B: *a\n", "reference", 9),
        ("  env:\n    A: !!str x\n", "reference", 9),
        ("  env: &e\n    A: x\n", "reference", 8),
        ("  env2: &e {A: x}\n  env: *e\n", "reference", 9),
        ("  env:\n    A: [x]\n", "type", 9),
        ("  env:\n    A: {x: y}\n", "type", 9),
        ("  env:\n    ? A\n    : x\n", "layout", 9),
        ("  env: {A: # c\n    x, B: b}\n", "layout", 8),
        ("  env: {B: b\n    , ? A : x}\n", "self-check", None),
        ("  env:\n    A: x\n    A: y\n", "duplicate-key", 10),
        ("  env:\n", "type", 8),
    ],
    ids=["an anchor", "a tag", "an anchored section", "an alias", "a list", "a mapping", "a question mark", "a comment in braces", "a question mark in braces", "twice", "no mapping"],
)  # fmt: skip
def test_what_cannot_be_removed_safely_is_refused(env: str, rule: str, line: int | None) -> None:
    """With the line that a person has to look at."""
    content = plain(env).encode()
    with pytest.raises(config.UneditableError) as caught:
        config.edit(content, of("A"), version=V1_1)
    assert refusal(caught) == [(rule, line)]


def test_a_key_with_dots_that_keeps_it_there_is_refused() -> None:
    """To the 1.1 daemon a top-level key with dots is a path, which the editor does not touch."""
    with pytest.raises(config.UneditableError) as caught:
        config.edit(plain("  env: {}\n").encode() + b'agent.env.A: "x"\n', of("A"), version=V1_1)
    assert refusal(caught) == [("overruled", None)]


def test_an_anchor_is_no_hindrance_where_nothing_is_to_be_removed() -> None:
    """Nothing to do is nothing to refuse."""
    content = plain("  env: &e {B: b}\n  env2: *e\n").encode()
    assert config.edit(content, of("A"), version=V1_1).content == content


@pytest.mark.parametrize("version", [V1_0_9, V1_1], ids=str)
def test_what_an_edit_put_into_the_template_goes_again(version: config.Version) -> None:
    """The same bytes as before."""
    before = changed(PLAIN, ("  dynamic_reprovisioning: false\n", "")).encode()
    wanted = Wanted(agent_env={"https_proxy": "http://proxy:3128", "UpstreamProtocol": "AmqpWs"})
    made = config.edit(before, wanted, version=version)
    assert made.content != before
    assert config.edit(made.content, of(*wanted.agent_env), version=version).content == before


def test_one_key_goes_and_another_comes() -> None:
    """The section stays what it is in between."""
    made = config.edit(plain("  env: # mine\n      A: x\n").encode(), of("A", B="y"), version=V1_1)
    assert made.content.decode() == plain('  env: # mine\n      B: "y"\n')
    assert [(change.action, change.path) for change in made.changes] == [
        ("Remove", "agent.env.A"),
        ("Add", "agent.env.B"),
    ]


TOML_CASES = (
    Case(sentence="no agent", before="", after="", removed=()),
    Case(sentence="no environment", before=AGENT, after=AGENT, removed=()),
    Case(sentence="a key that is not there", before=f'{AGENT}[agent.env]\nB = "b"\n', after=f'{AGENT}[agent.env]\nB = "b"\n', removed=()),
    Case(sentence="a key that only a comment has", before=f'{AGENT}# [agent.env]\n# A = "x"\n', after=f'{AGENT}# [agent.env]\n# A = "x"\n', removed=()),
    Case(sentence="the first of two", before=f'{AGENT}[agent.env]\nA = "x"\nB = "b"\n', after=f'{AGENT}[agent.env]\nB = "b"\n'),
    Case(sentence="the last of two", before=f'{AGENT}[agent.env]\nB = "b"\n\nA = "x"\n', after=f'{AGENT}[agent.env]\nB = "b"\n\n'),
    Case(sentence="the only one", before=f'{AGENT}[agent.env] # ours\nA = "x"\n\n[tpm]\n', after=f"{AGENT}[agent.env] # ours\n\n[tpm]\n"),
    Case(sentence="all of two", before=f'{AGENT}[agent.env]\nA = "x"\nC = "y"\n', gone=("C", "A", "D"), after=f"{AGENT}[agent.env]\n", removed=("A", "C")),
    Case(sentence="a comment behind the line", before=f'{AGENT}[agent.env]\n  A = "x # y"  # why\nB = "b"\n', after=f'{AGENT}[agent.env]\n  # why\nB = "b"\n'),
    Case(sentence="comments around it", before=f'{AGENT}[agent.env]\n# above\nA = "x"\n# below\n', after=f"{AGENT}[agent.env]\n# above\n# below\n"),
    Case(sentence="a quoted key", before=f"""{AGENT}[agent."env"]\n"A" = 'x'\n'B' = 'b'\n""", after=f"""{AGENT}[agent."env"]\n'B' = 'b'\n"""),
    Case(sentence="a key with a dot", before=f'{AGENT}[agent.env]\n"a.b" = "x"\na = "b"\n', gone=("a.b",), after=f'{AGENT}[agent.env]\na = "b"\n', removed=("a.b",)),
    Case(sentence="a text of three lines", before=f'{AGENT}[agent.env]\nA = """\nB = "c"\n# """ # d\nB = "b"\n', after=f'{AGENT}[agent.env]\n# d\nB = "b"\n'),
    Case(sentence="dotted keys", before=f"{AGENT}[x]\n".replace('type = "docker"\n', 'type = "docker"\nenv.A = "x"\nenv.B = "b"\n'), after=f"{AGENT}[x]\n".replace('type = "docker"\n', 'type = "docker"\nenv.B = "b"\n')),
    Case(sentence="the only dotted key", before=AGENT.replace('type = "docker"\n', 'type = "docker"\nenv . "A" = "x"\n'), after=AGENT),
    Case(sentence="an inline table, the first", before=AGENT.replace('type = "docker"\n', 'type = "docker"\nenv = { A = "x", B = "b" } # c\n'), after=AGENT.replace('type = "docker"\n', 'type = "docker"\nenv = { B = "b" } # c\n')),
    Case(sentence="an inline table, the last", before=AGENT.replace('type = "docker"\n', "type = \"docker\"\nenv = {B='b','A'='x, }'}\n"), after=AGENT.replace('type = "docker"\n', "type = \"docker\"\nenv = {B='b'}\n")),
    Case(sentence="an inline table, the only one", before=AGENT.replace('type = "docker"\n', 'type = "docker"\nenv = { A = "x" }\n'), after=AGENT.replace('type = "docker"\n', 'type = "docker"\nenv = {}\n')),
    Case(
        sentence="an inline table in another",
        before='agent = {name = "a", env = {B = "b", A = "x"}, type = "docker", config = {image = "i", createOptions = {a = [{b = 1}, 2]}}}\n',
        after='agent = {name = "a", env = {B = "b"}, type = "docker", config = {image = "i", createOptions = {a = [{b = 1}, 2]}}}\n',
    ),
    Case(
        sentence="dotted keys in an inline table",
        before='agent = { config.image = "i", config.createOptions = {}, env.A = "x", name = "a", env.C = "y", type = "docker" }\n',
        gone=("A", "C"),
        after='agent = { config.image = "i", config.createOptions = {}, name = "a", type = "docker" }\n',
        removed=("A", "C"),
    ),
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", TOML_CASES, ids=lambda case: case.sentence)
def test_a_key_goes_from_config_toml(case: Case, layout: str) -> None:
    """Exactly these bytes, told as removals; the second edit finds nothing to do."""
    top = case.before.startswith("agent =")
    whole = [text + TOML if top else TOML + text for text in (case.before, case.after)]
    before, after = (LAYOUTS[layout](text).encode() for text in whole)
    made = config.edit(before, of(*case.gone), version=V15)
    assert made.content.decode() == after.decode()
    assert [(c.action, c.path, c.after) for c in made.changes] == [
        ("Remove", f"agent.env.{name}", "") for name in case.removed
    ]
    assert made.restarts == bool(case.removed)
    assert config.edit(after, of(*case.gone), version=V15) == config.Edit(content=after, changes=(), restarts=False)


@pytest.mark.parametrize(
    ("env", "rule"),
    [("[agent.env.A]\nx = 1\n", "type"), ('[agent.env]\nA = ["x"]\n', "type"), ('[agent.env]\nA.b = "x"\n', "type")],
    ids=["a table", "a list", "a dotted key"],
)
def test_what_is_no_text_in_config_toml_is_refused(env: str, rule: str) -> None:
    """The daemon takes texts only; a person has to look at it."""
    with pytest.raises(config.UneditableError) as caught:
        config.edit((TOML + AGENT + env).encode(), of("A"), version=V15)
    assert {problem.rule for problem in caught.value.problems} == {rule}


def test_one_key_goes_from_config_toml_and_another_comes() -> None:
    """An agent that is not there is begun for what comes, not for what goes."""
    before = f'{TOML}{AGENT}[agent.env]\nA = "x"\n'
    made = config.edit(before.encode(), of("A", B="y"), version=V15)
    assert made.content.decode() == f'{TOML}{AGENT}[agent.env]\nB = "y"\n'
    assert config.edit(TOML.encode(), of("A"), version=V15).content == TOML.encode()
    assert b"[agent.env]\nB" in config.edit(TOML.encode(), of("A", B="y"), version=V15).content


@pytest.mark.parametrize(
    ("before", "version"),
    [
        (plain('  env:\n    https_proxy: "http://me:hush-hush@proxy:1"\n    API_TOKEN: "hush-hush"\n'), V1_1),
        (f'{TOML}{AGENT}[agent.env]\nhttps_proxy = "http://me:hush-hush@proxy:1"\nAPI_TOKEN = "hush-hush"\n', V15),
    ],
    ids=["YAML", "TOML"],
)
def test_what_goes_is_shown_masked(before: str, version: config.Version) -> None:
    """The names are shown, and of the values what is no secret."""
    made = config.edit(before.encode(), of("https_proxy", "API_TOKEN"), version=version)
    assert made.changes == (
        Change(path="agent.env.https_proxy", action="Remove", before="***@proxy:1", after=""),
        Change(path="agent.env.API_TOKEN", action="Remove", before="***", after=""),
    )
    diff = config.masked_diff(before.encode(), made.content, name="f")
    assert "API_TOKEN" in diff
    assert "hush" not in diff + repr(made)


def test_other_wishes_hold_beside_it() -> None:
    """All in one edit."""
    wanted = Wanted(connection_string=STRING.replace("press-01", "press-02"), hostname="h", agent_env={"A": None})
    made = config.edit(plain("  env:\n    A: x\n").encode(), wanted, version=V1_1)
    read = config.load(made.content, version=V1_1)
    assert (read.connection_string, read.hostname, read.agent_env) == (wanted.connection_string, "h", {})


def test_a_comment_behind_the_sign_of_a_block_stays() -> None:
    """Where its text is replaced by one of one line."""
    made = config.edit(plain("  env:\n    A: |- # c\n      y\n  # d\n").encode(), of(A="x"), version=V1_1)
    assert made.content.decode() == plain('  env:\n    A: "x" # c\n  # d\n')


def test_a_key_is_added_to_braces_however_they_end() -> None:
    """Behind the last value: not into a comment, and not against the colon of a key without a value."""
    for before, after in (
        ("{\n    B: b, # c\n  }", '{\n    B: b, "A": "x", # c\n  }'),
        ("{\n    B: b # c\n  }", '{\n    B: b, "A": "x" # c\n  }'),
        ("{B: }", '{B: , "A": "x" }'),
        ("{ B: b , }", '{ B: b, "A": "x" , }'),
    ):
        made = config.edit(plain(f"  env: {before}\n").encode(), of(A="x"), version=V1_1)
        assert made.content.decode() == plain(f"  env: {after}\n")
        assert set(config.load(made.content, version=V1_1).agent_env) == {"A", "B"}
