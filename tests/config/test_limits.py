"""What is longer, denser or deeper than any file of the daemon is refused, and what is as long as may be is not."""

import pytest

from edgeherd import config
from edgeherd.config import limits, masking
from edgeherd_sim.devices import filesystem

YAML, TOML = config.Version.parse("1.1.15"), config.Version.parse("1.5.44")
WANTED = config.Wanted(hostname="press-01")
CLASSIC, MODERN = filesystem.default_config().decode(), filesystem.template().decode()
ALIVE = limits.MAX_LIVE_LINES - 1


def _deep(text: str, depth: int, version: config.Version) -> str:
    opening, closing = ("{a: ", "}") if version is YAML else ("{a = ", "}")
    return f"{text}{opening * depth}1{closing * depth}\n"


@pytest.mark.parametrize(
    ("text", "version", "why"),
    [
        pytest.param("#" * limits.MAX_BYTES + "\n", YAML, "The file is larger than 256 KiB, which no file of the daemon is.", id="bytes"),
        pytest.param("#\n" * limits.MAX_LINES, TOML, "line 5001: The file has more than 5000 lines, which no file of the daemon has.", id="lines"),
        pytest.param("#" * 16_385, YAML, "line 1: The line has more than 16384 characters. Break it up.", id="a long line"),
        pytest.param("[[z]]\n" * 1_501, TOML, "line 1251: Up to this line there are more than 1500 lines that are no comments, or more than 5000 brackets and commas in them, which no file of the daemon has.", id="tables"),
        pytest.param(f"z: [{'[],' * 1_700}]\n", YAML, "line 1: Up to this line there are more than 1500 lines that are no comments, or more than 5000 brackets and commas in them, which no file of the daemon has.", id="flow sequences"),
        pytest.param(f"{'.'.join('a' * 2000)} = 1\n", TOML, "line 1: The line has more than 512 dots. Break it up.", id="2,000 dotted parts"),
        pytest.param(f"{'.'.join('a' * 500)} = 1\n", TOML, "The file is not TOML: tables and keys with dots are nested more than 32 deep. Fix it.", id="500 dotted parts"),
        pytest.param(_deep("z = ", 33, TOML), TOML, "The file is not TOML: tables and keys with dots are nested more than 32 deep. Fix it.", id="inline tables"),
        pytest.param("z = " + "[" * 1500 + "]" * 1500 + "\n", TOML, "The file is not TOML: tables and keys with dots are nested more than 32 deep. Fix it.", id="arrays"),
        pytest.param(f"z = {'1' * 5000}\n", TOML, "line 1: The file is not TOML: the line cannot be read as TOML 1.0. Fix the line.", id="a number without end"),
        pytest.param(_deep("z: ", 33, YAML), YAML, "line 1: The file is not YAML: it is nested more than 32 deep.", id="flow mappings"),
        pytest.param("z:\n  " + "- " * 100 + "1\n", YAML, "line 2: The file is not YAML: it is nested more than 32 deep.", id="sequences in sequences"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, version: config.Version, why: str) -> None:
    """With the line and the reason, by the edit and by the check alike."""
    with pytest.raises(config.UneditableError) as caught:
        config.edit(text.encode(), WANTED, version=version)
    assert str(caught.value) == why
    verdict = config.check(text.encode(), version=version)
    assert (verdict.valid, verdict.editable, str(verdict.problems[0])) == (False, False, why)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param(CLASSIC + f"# {'x' * 16_000}\n" * 14, YAML, id="comments"),
        pytest.param(CLASSIC + "z:\n" + f"  - [{'[],' * 1_500}]\n", YAML, id="flow sequences"),
        pytest.param(CLASSIC + "z: " + "1" * 16_000 + "x\n", YAML, id="a pattern of numbers that was quadratic"),
        pytest.param(_deep(f"{CLASSIC}z: ", 30, YAML), YAML, id="flow mappings"),
        pytest.param(MODERN + "".join(f"# [provisioning]\n# k{n} = 1\n" for n in range(2_000)), TOML, id="sections in comments"),
        pytest.param(MODERN + "\n[aziot_keys]\n" + "".join(f"k{n} = '1'\n" for n in range(1_300)), TOML, id="keys"),
    ],
)  # fmt: skip
def test_what_is_as_long_as_may_be(text: str, version: config.Version) -> None:
    """Is edited; a worker has ten seconds for it, and needs one and a half at most."""
    connected = config.Wanted(connection_string="HostName=h;DeviceId=d;SharedAccessKey=QQ==")
    assert config.edit(text.encode(), connected, version=version).restarts


def test_a_refusal_survives_its_way_between_processes() -> None:
    """With all it says."""
    import pickle  # noqa: PLC0415 - nothing else here needs it

    with pytest.raises(config.UneditableError) as caught:
        config.edit(b"#" * 300_000, WANTED, version=YAML)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - it is our own
    assert (type(again), again.problems) == (config.UneditableError, caught.value.problems)


@pytest.mark.parametrize(
    ("text", "proxied", "masked"),
    [
        ("http://u:p@h/x", False, "http://***@h/x"),
        ("see http://u:p@h http://h2 'https://t@i'", False, "see http://***@h http://h2 'https://***@i'"),
        ("://@x", False, "://@x"),
        ("a://b://c:d@e", False, "a://***@e"),
        ("a://u@b://v@c", False, "a://***@c"),
        ("u:p@h", False, "u:p@h"),
        ("u:p@h", True, "***@h"),
        ("registry/u:p@h:80 k", True, "***@h:80 k"),
        ("a@u:@h", True, "a@u:@h"),
        ("u:p:q@v:w@h", True, "***@***@h"),
        ("://" * 5_000, True, "://" * 5_000),
    ],
)
def test_logins_in_a_text(text: str, proxied: bool, masked: str) -> None:
    """Found without a pattern that begins anew at each character."""
    assert masking.masked_value("agent.env.https_proxy" if proxied else "agent.env.NAME", text) == masked
