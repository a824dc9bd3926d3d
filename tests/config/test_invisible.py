"""Characters that nobody sees: named with their line, never edited around, mended by `repair`."""

import pytest

from edgeherd import config
from edgeherd.config import Wanted

V11, V15 = config.Version.parse("1.1.15"), config.Version.parse("1.5.44")
STRING = "HostName=northmill.azure-devices.net;DeviceId=press-07;SharedAccessKey=bm90LWEtcmVhbC1rZXk="
YAML = f'provisioning:\n  source: "manual"\n  device_connection_string: "{STRING}"\nhostname: "press-07"\n'
TOML = f'[provisioning]\n  source = "manual"\n  connection_string = "{STRING}"\n'
CHARACTERS = {
    "a no-break space": ("\u00a0", " "),
    "an em space": ("\u2003", " "),
    "an ideographic space": ("\u3000", " "),
    "a narrow no-break space": ("\u202f", " "),
    "a zero-width space": ("\u200b", ""),
    "a word joiner": ("\u2060", ""),
    "a byte order mark within": ("\ufeff", ""),
    "a soft hyphen": ("\u00ad", ""),
}


@pytest.mark.parametrize(("text", "version"), [(YAML, V11), (TOML, V15)], ids=["YAML", "TOML"])
@pytest.mark.parametrize("place", ["in the indentation", "before it", "behind the key", "at the line's end"])
@pytest.mark.parametrize(("odd", "plain"), CHARACTERS.values(), ids=CHARACTERS)
def test_what_nobody_sees_is_named_and_mended(
    text: str, version: config.Version, place: str, odd: str, plain: str
) -> None:
    """Check names the line, set does nothing, and after repair the file is what it looked like."""
    mark = ":" if version is V11 else " ="
    line = '  source: "manual"' if version is V11 else '  source = "manual"'
    broken = {
        "in the indentation": odd + (" " if plain else "  ") + line.lstrip(),
        "before it": (" " if plain else "  ") + odd + line.lstrip(),
        "behind the key": line.replace(mark, odd + mark),
        "at the line's end": line + odd,
    }[place]
    content = text.replace(line, broken).encode()
    verdict = config.check(content, version=version)
    found = [(problem.line, problem.rule) for problem in verdict.problems]
    assert (verdict.editable, found) == (False, [(2, "invisible")])
    with pytest.raises(config.UneditableError) as caught:
        config.edit(content, Wanted(connection_string=STRING), version=version)
    assert [(problem.line, problem.rule) for problem in caught.value.problems] == [(2, "invisible")]
    mended, said = config.repair(content, version=version)
    assert config.check(mended, version=version) == config.Verdict(valid=True, editable=True, problems=())
    assert [word for word in mended.decode().split() if odd in word] == []
    assert [sentence[:7] for sentence in said] == ["line 2:"]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param(
            YAML.replace('"press-07"', '"press\u00a007"') + "# a\u00a0remark\n",
            V11,
            id="in quotation marks and comments",
        ),
        pytest.param(f"{YAML}mine: |\n  a\u00a0text\n  \u00a0# and more\n", V11, id="in a block"),
        pytest.param(f'mine = "a\u00a0b"\n{TOML}# a\u200bremark\n', V15, id="in TOML's quotation marks and comments"),
        pytest.param(f'mine = """\na\u00a0b\n"""\nyours = \'\u00a0\'\n{TOML}', V15, id="in several lines of TOML"),
    ],
)
def test_what_is_a_part_of_a_value_is_meant(text: str, version: config.Version) -> None:
    """Nothing is said of it, and it stays."""
    assert config.check(text.encode(), version=version).problems == ()
    assert config.repair(text.encode(), version=version) == (text.encode(), ())
