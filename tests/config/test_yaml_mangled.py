"""Whatever people did to a config.yaml: an edit is right, or there is none."""

import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from yaml_mangling import ENV_NAMES, WANTED, Mangled, environment, mangled
from yaml_samples import GOOD, KEY, STRING, V1_0_9, V1_0_10, V1_1, attempt, said

from edgeherd import config
from edgeherd.config import UneditableError, Version, Wanted

VERSIONS = st.sampled_from([V1_0_9, V1_0_10, V1_1])
OWNED = re.compile(
    r"(# ?)?\s*['\"]?(provisioning|source|device_connection_string|dynamic_reprovisioning|always_reprovision_on_startup"
    r"|authentication|attestation|method|iothub_hostname|device_id|identity_cert|identity_pk|global_endpoint|scope_id"
    r"|registration_id|symmetric_key|endpoint|hostname|image|env|auth|email)['\"]?:.*"
)
"""What a line may look like that an edit takes away."""


def lines_of(content: bytes) -> Counter[str]:
    """The lines of a file and how often each is there."""
    return Counter(content.decode().replace("\r\n", "\n").split("\n"))


def lost(before: bytes, after: bytes) -> list[str]:
    """Lines that are gone and were not ours to take. A section takes the remarks in it along, into a comment or out of it."""
    now = lines_of(after)
    gone = [line for line in lines_of(before) - now if line.strip() and not OWNED.fullmatch(line)]
    return [line for line in gone if not any(now[form] for form in (f"# {line}", *_active(line)))]


def _active(line: str) -> tuple[str, ...]:
    return (line[1:], line[2:]) if line.startswith("#") else ()


def others(content: bytes) -> object:
    """What a file says apart from what an edit owns, in the eyes of another YAML reader."""
    root = dict(said(content) or {})
    root.pop("provisioning", None)
    root.pop("hostname", None)
    agent = root["agent"] = dict(root.get("agent") or {})
    agent["config"] = dict(agent.get("config") or {})
    agent["config"].pop("image", None)
    agent["config"]["auth"] = (agent["config"].get("auth") or {}).get("email")
    agent["env"] = None
    return root


def assert_right(before: bytes, made: config.Edit, wanted: Wanted, version: Version) -> None:
    """The daemon takes it, it means what is wanted, and nobody else's things were touched."""
    assert config.check(made.content, version=version) == GOOD
    meant = config.load(made.content, version=version)
    assert (meant.source, meant.connection_string) == ("manual.device_connection_string", STRING)
    assert wanted.hostname in {None, meant.hostname}
    assert wanted.agent_image in {None, meant.agent_image}
    stayed = ((said(before) or {}).get("agent") or {}).get("env") or {}
    env = {str(name): value or "" for name, value in stayed.items()} | dict(wanted.agent_env)
    assert meant.agent_env == {name: value for name, value in env.items() if value is not None}
    assert config.edit(made.content, wanted, version=version) == config.Edit(
        content=made.content, changes=(), restarts=False
    )
    assert others(made.content) == others(before)
    now = made.content.decode()
    gone = [line for line in lost(before, made.content) if not ours(line, wanted)]
    assert [
        line for line in gone if re.sub(r",( #.*)?$", "", line) + ", " not in now
    ] == []  # braces that hold more than they did
    assert made.content.endswith(b"\n") == before.endswith(b"\n")
    assert (b"\r\n" in made.content) == (b"\r\n" in before)
    assert KEY not in config.masked_diff(before, made.content, name="f") + repr(made.changes)
    undone = config.deprovision(made.content, version=version)
    again = config.edit(undone.content, Wanted(connection_string=STRING), version=version)
    assert config.load(again.content, version=version) == meant


def ours(line: str, wanted: Wanted) -> bool:
    """Whether it is a line of the agent's environment that an edit may take away, or a part of its value."""
    text = line.strip()
    return text in {"text", "# text"} or any(text.startswith((f"{n}:", f"'{n}':", f"{n} :")) for n in wanted.agent_env)


def edited(file: Mangled, wanted: Wanted, version: Version) -> config.Edit | None:
    """The edit if there is one; a refusal says why, and `check` said so before."""
    verdict = config.check(file.content, version=version)
    made, refused = attempt(config.edit, file.content, wanted=wanted, version=version)
    assert refused is None or (isinstance(refused, UneditableError) and refused.problems)
    more = wanted.hostname is not None or wanted.agent_env or wanted.agent_auth or wanted.agent_image
    assert verdict.editable or made is None or more
    return made


@settings(deadline=None, max_examples=40)
@given(file=mangled(), wanted=WANTED, version=VERSIONS)
def test_an_edit_of_a_file_that_people_changed(file: Mangled, wanted: Wanted, version: Version) -> None:
    """Comments, spaces, quotation marks, strangers, other indentations and other sections: all of it stays."""
    made = edited(file, wanted, version)
    if made is not None:
        assert_right(file.content, made, wanted, version)
        assert [note for note in file.notes if note not in made.content.decode()] == []


@settings(deadline=None, max_examples=40)
@given(file=mangled(rough=True), wanted=WANTED, version=VERSIONS)
def test_an_edit_of_a_file_that_people_broke(file: Mangled, wanted: Wanted, version: Version) -> None:
    """Lines missing, doubled, cut or in the wrong place: the same, or a refusal, and never anything else."""
    made = edited(file, wanted, version)
    if made is not None:
        assert_right(file.content, made, wanted, version)


@settings(deadline=None, max_examples=60)
@given(file=mangled(first=environment), gone=st.sets(ENV_NAMES, max_size=6), version=VERSIONS)
def test_keys_that_are_taken_out_of_the_environment(file: Mangled, gone: set[str], version: Version) -> None:
    """What was there is gone and told, however it was laid out; comments and the other keys stay."""
    wanted = Wanted(connection_string=STRING, agent_env=dict.fromkeys(gone))
    made = edited(file, wanted, version)
    if made is not None:
        assert_right(file.content, made, wanted, version)
        assert [note for note in file.notes if note not in made.content.decode()] == []
        there = set(((said(file.content) or {}).get("agent") or {}).get("env") or {})
        told = [change for change in made.changes if change.path.startswith("agent.env")]
        assert [change.action for change in told] == ["Remove"] * len(there & gone)


@settings(deadline=None, max_examples=40)
@given(file=mangled(rough=True), version=VERSIONS)
def test_a_repair_of_a_file_that_people_broke(file: Mangled, version: Version) -> None:
    """A repair has nothing left to do the second time, says what it did, and leaves what is right."""
    fixed, refused = attempt(config.repair, file.content, version=version)
    if fixed is None:
        assert refused is not None
        assert refused.problems
        return
    content, sentences = fixed
    assert bool(sentences) == (content != file.content)
    assert config.repair(content, version=version) == (content, ())
    if config.check(file.content, version=version).editable:
        assert (content, sentences) == (file.content, ())
    assert [note for note in file.notes if note.encode() not in content] == []


@settings(deadline=None, max_examples=100)
@given(
    content=st.binary(max_size=60)
    | st.text(alphabet="aA:-?#'\"\\{}[],&*!|>%@ \t\n\r\0\ufeff~01.", max_size=40).map(str.encode)
)
def test_bytes_of_any_kind(content: bytes) -> None:
    """Untrusted bytes give a verdict or a refusal, never another exception."""
    verdict = config.check(content, version=V1_1)
    assert verdict.valid == (not [problem for problem in verdict.problems if problem.severity == "error"])
    for act in (config.load, config.deprovision, config.repair):
        _, refused = attempt(act, content, version=V1_1)
        assert refused is None or refused.problems
    made = edited(Mangled(content, []), Wanted(connection_string=STRING), V1_1)
    if made is not None:
        assert config.load(made.content, version=V1_1).connection_string == STRING
