"""What yaml-rust 0.4.0 and the daemon's reader of it refuse or take otherwise than other readers of YAML."""

import pytest
from yaml_samples import PLAIN, changed, told

from edgeherd import config

V10, V11 = config.Version.parse("1.0.10.4"), config.Version.parse("1.1.15")
NUMBER, SYNTAX, URI, TYPE = "number", "syntax", "uri", "type"


@pytest.mark.parametrize("version", [V10, V11], ids=str)
@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        *(pytest.param(f"{PLAIN}mine: {word}\n", NUMBER, 23, id=f"{word} in a key that is ignored") for word in (".inf", "-.inf", "+.Inf", ".INF", ".nan", ".NAN")),
        pytest.param(f"{PLAIN}mine:\n  - a: !!float .inf\n", NUMBER, 24, id="an infinity with a tag, deep down"),
        pytest.param(f'{PLAIN}mine: "\\/"\n', SYNTAX, 23, id="an escaped slash"),
        pytest.param(f'{PLAIN}mine: "\\ud800"\n', SYNTAX, 23, id="half of a surrogate pair"),
        pytest.param(f'{PLAIN}mine: "\\U00110000"\n', SYNTAX, None, id="no character at all"),
        pytest.param(f'{PLAIN}mine: "a\n  \\/"\n', SYNTAX, 24, id="an escaped slash on the second line of a text"),
        pytest.param(changed(PLAIN, ("unix:///var/run/docker.sock", "http://[docker")), URI, 21, id="a bracket in a host"),
        pytest.param(changed(PLAIN, ("unix:///var/run/docker.sock", "unix://[::1")), URI, 21, id="a bracket in the host of a socket"),
        pytest.param(changed(PLAIN, ("auth: {}", "auth: &a")), TYPE, 11, id="an anchor without credentials"),
        pytest.param(f"{PLAIN}watchdog:\n  max_retries: &a\n", TYPE, 24, id="an anchor without a number"),
        pytest.param(f"{PLAIN}certificates: &a\n", TYPE, 23, id="an anchor without certificates"),
        pytest.param(f"x: &a\n{changed(PLAIN, ('auth: {}', 'auth: *a'))}", TYPE, 12, id="an alias of an anchor without a value"),
        pytest.param(f"!!null x: x\n{PLAIN}", "provisioning", None, id="a key whose tag does not fit, so that no key is one"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, rule: str, line: int | None, version: config.Version) -> None:
    """With the line, and nothing else is blamed."""
    verdict = config.check(text.encode(), version=version)
    errors = [(problem.rule, problem.line) for problem in verdict.problems if problem.severity == "error"]
    assert (verdict.valid, errors) == (False, [(rule, line)])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{PLAIN}mine: .NaN\n", id="a word that only looks like not-a-number"),
        pytest.param(f"{PLAIN}mine: inf\n", id="an infinity without its dot"),
        pytest.param(f'{PLAIN}mine: ".inf"\n', id="an infinity in quotation marks"),
        pytest.param(f"{PLAIN}.inf: mine\n", id="an infinity for a key, whose value nobody reads"),
        pytest.param(f"{PLAIN}1: .inf\n", id="an infinity below a key that is a number"),
        pytest.param(f'{PLAIN}mine: "\\\\/ \\x41 \\u00e9"\n', id="other escapes"),
        pytest.param(f"{PLAIN}mine: 0x-1\n", id="a number that has its sign within"),
    ],
)
def test_what_is_taken(text: str) -> None:
    """As the daemon takes it, though other readers do not."""
    assert told(config.check(text.encode(), version=V11))[0] is True


@pytest.mark.parametrize(
    ("first", "problems"),
    [
        pytest.param("# a remark\n", [("bom", 1, "error")], id="a comment"),
        pytest.param("", [("bom", 1, "error")], id="our own section"),
        pytest.param("mine: x\n", [("bom", 1, "warning")], id="a key that is ignored: the file loads"),
    ],
)
def test_what_a_byte_order_mark_does_depends_on_what_follows(
    first: str, problems: list[tuple[str, int | None, str]]
) -> None:
    """It joins the first word. The file is not edited in any case."""
    verdict = told(config.check(f"\ufeff{first}{PLAIN}".encode(), version=V11))
    assert verdict == (problems[0][2] == "warning", False, problems)
