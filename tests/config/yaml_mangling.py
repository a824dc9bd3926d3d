"""Files as people leave them: a template or a plain file, mangled by hand in any number of ways."""

import dataclasses
import re
from collections.abc import Callable

from hypothesis import strategies as st
from yaml_samples import AUTH, DEBIAN, OLD, PLACEHOLDER, PLAIN, STRING

from edgeherd.config import Wanted

Lines = list[str]
Stroke = Callable[[st.DrawFn, Lines, Lines], None]

SECTION = re.compile(r"[a-z_]+:")
VALUE = re.compile(r'(?P<head>(?:# ?)? *[a-z_]+: )"(?P<text>[^"\\]*)"')
PROVISIONING = re.compile(r"(?P<mark># ?|)provisioning:\r?$")

ENV_NAMES = st.sampled_from(
    ["UpstreamProtocol", "https_proxy", "RuntimeLogLevel", "A.b", "yes", "null", "1", "", "ä: #", "email"]
)


@dataclasses.dataclass
class Mangled:
    """A file, and the notes that a person left in it."""

    content: bytes
    notes: list[str]


def _number(draw: st.DrawFn, below: int) -> int:
    return draw(st.integers(0, max(below - 1, 0)))


def _note(draw: st.DrawFn, lines: Lines, notes: Lines) -> None:
    """A comment on a line of its own, anywhere."""
    notes.append(f"note-{len(notes)};")
    lines.insert(
        _number(draw, len(lines) + 1), draw(st.sampled_from(["# ", "#", "  # ", "    #   ", "## "])) + notes[-1]
    )


def _remark(draw: st.DrawFn, lines: Lines, notes: Lines) -> None:
    """A comment behind a value."""
    places = [n for n, line in enumerate(lines) if re.match(r" *[a-z_]+:", line)]
    notes.append(f"note-{len(notes)};")
    lines[places[_number(draw, len(places))]] += f"  # {notes[-1]}"


def _spaces(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """White space at the end of a line."""
    lines[_number(draw, len(lines))] += " " * (1 + _number(draw, 3))


def _blank(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """An empty line, or one of spaces."""
    lines.insert(_number(draw, len(lines) + 1), " " * _number(draw, 4))


def _reorder(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """The sections in another order, each with what is above it."""
    chunks: list[Lines] = [[]]
    for line in lines:
        chunks[-1].append(line)
        if not line.strip():
            chunks.append([])
    lines[:] = [line for chunk in draw(st.permutations(chunks)) for line in chunk]


def _requote(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """Values in other quotation marks, or in none."""
    style = draw(st.sampled_from(["single", "plain"]))
    some = draw(st.sets(st.integers(0, len(lines) - 1), min_size=1, max_size=len(lines)))
    for n in some:
        if found := VALUE.match(lines[n]):
            plain = style == "plain" and re.fullmatch(r"[A-Za-z<]\S*(?: \S+)*", found["text"])
            text = found["text"] if plain else "'" + found["text"].replace("'", "''") + "'"
            lines[n] = found["head"] + text + lines[n][found.end() :]


def _strangers(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """Keys that the daemon does not know: at the end, or in front of a section."""
    places = [n for n, line in enumerate(lines) if SECTION.match(line)] + [len(lines)]
    stranger = draw(
        st.sampled_from(
            [
                ["x_list:", "- 1", "- {a: b}"],
                ["x_map:", "   a:", "      b: 'c'"],
                ["x_block: |", "  sneeze: x", "  hostname: y", "  # y"],
            ]
        )
    )
    name = f"x{len(lines)}_"
    lines[(place := places[_number(draw, len(places))]) : place] = [name + stranger[0], *stranger[1:]]


def _indent(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """Another indentation, in the active lines, in the commented ones, or in all."""
    width, which = (
        draw(st.sampled_from([1, 3, 4, 8])),
        draw(st.sampled_from([r"( +)(?=[a-z])", r"(# ?) +(?=[a-z])", r"(?:# ?)? +(?=[a-z])"])),
    )
    for n, line in enumerate(lines):
        if found := re.match(which, line):
            mark = re.match(r"(?:# ?)?", line)
            assert mark
            depth = (found.end() - mark.end()) // 2
            lines[n] = mark[0] + " " * (depth * width) + line[found.end() :]


def _switch(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """Another provisioning section is the active one, or none is, or one more."""
    heads = [n for n, line in enumerate(lines) if PROVISIONING.match(line)]
    how = draw(st.sampled_from(["another", "another", "none", "one more"]))
    chosen = heads[_number(draw, len(heads))] if heads else None
    mark = draw(st.sampled_from(["# ", "# ", "#"]))
    for head in heads:
        found = PROVISIONING.match(lines[head])
        assert found
        active = not found["mark"]
        wanted = head == chosen if how == "another" else False if how == "none" else active or head == chosen
        end = head + 1
        while end < len(lines) and lines[end].startswith(found["mark"] + " ") and lines[end].strip(" #"):
            end += 1
        for n in range(head, end):
            if active and not wanted:
                lines[n] = mark + lines[n]
            elif wanted and not active:
                lines[n] = lines[n].removeprefix(found["mark"])


def _empty(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """Nothing, null, or something where the template has an empty mapping."""
    places = [n for n, line in enumerate(lines) if line.strip().endswith(": {}")]
    if places:
        place = places[_number(draw, len(places))]
        head = lines[place].partition(":")[0]
        child = " " * (len(head) - len(head.lstrip()) + 2)
        instead = draw(
            st.sampled_from(
                [[": ~"], [":"], [":  # none"], [": {  }"], [":", child + 'email: "me@x.example"'], [": {email: 'me'}"]]
            )
        )
        lines[place : place + 1] = [head + instead[0], *instead[1:]]


def environment(draw: st.DrawFn, lines: Lines, notes: Lines) -> None:
    """Keys in the agent's environment, in the layouts that people use."""
    places = [n for n, line in enumerate(lines) if line.strip() == "env: {}"]
    if not places:
        return
    names = draw(st.lists(ENV_NAMES, min_size=1, max_size=4, unique=True))
    bare = draw(st.booleans())
    keys = [name if bare and re.fullmatch(r"[A-Z][A-Za-z]+|https_proxy", name) else f"'{name}'" for name in names]
    head = lines[places[0]].removesuffix(" {}")
    indent = " " * (len(head) - len(head.lstrip()) + 2)
    remarks = [""] * len(keys)
    how = draw(st.sampled_from(["block", "block", "block", "braces", "braces over lines"]))
    if how != "braces":
        for n in range(len(keys)):
            if draw(st.booleans()):
                notes.append(f"note-{len(notes)};")
                remarks[n] = f" # {notes[-1]}"
    values = [draw(st.sampled_from(['"x"', "'it''s'", "plain", '"# no"', ""])) for _ in keys]
    inside: Lines = []
    if how == "block":
        values = [draw(st.sampled_from([value, f"|-\n{indent}  text\n{indent}  # text"])) for value in values]
        for key, value, remark in zip(keys, values, remarks, strict=True):
            first, *rest = f"{indent}{key}: {value}".split("\n")
            inside += [first.rstrip() + remark, *rest]
        lines[places[0] : places[0] + 1] = [head, *inside]
    elif how == "braces":
        pairs = [f"{key}: {value}" for key, value in zip(keys, values, strict=True)]
        lines[places[0]] = head + draw(st.sampled_from([" {%s}", " { %s }", " {%s, }"])) % ", ".join(pairs)
    else:
        rows = zip(keys, values, remarks, strict=True)
        inside = [f"{indent}{key}: {value},{remark}" for key, value, remark in rows]
        lines[places[0] : places[0] + 1] = [head + " {", *inside, f"{indent}}}"]


def _provisioned(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """Somebody else's connection string, or ours already."""
    string = draw(st.sampled_from([OLD, STRING, "", "blah"]))
    lines[:] = [line.replace(PLACEHOLDER, string).replace(STRING, string) for line in lines]


def _drop(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """A line is gone."""
    if len(lines) > 1:
        del lines[_number(draw, len(lines))]


def _break(draw: st.DrawFn, lines: Lines, _notes: Lines) -> None:
    """A mistake: a tab, a leading space, a line twice, half a line."""
    place = _number(draw, len(lines))
    line = lines[place]
    how = draw(
        st.sampled_from([["\t" + line.lstrip()], [" " + line], [line, line], [line[: len(line) // 2]], ["---", line]])
    )
    lines[place : place + 1] = how


GENTLE = [_note, _remark, _spaces, _blank, _requote, _strangers, _indent, _switch, environment, _empty, _provisioned]
ROUGH = [*GENTLE, _reorder, _drop, _break]


@st.composite
def mangled(draw: st.DrawFn, *, rough: bool = False, first: Stroke | None = None) -> Mangled:
    """A file after up to eight strokes; `rough` ones may leave something that nobody can read."""
    lines = draw(st.sampled_from([DEBIAN.decode(), DEBIAN.decode(), PLAIN])).split("\n")[:-1]
    notes: Lines = []
    strokes = draw(st.lists(st.sampled_from(ROUGH if rough else GENTLE), max_size=8))
    for stroke in [first, *strokes] if first else strokes:
        stroke(draw, lines, notes)
    eol = draw(st.sampled_from(["\n", "\r\n"]))
    text = eol.join(lines) + draw(st.sampled_from([eol, eol, ""]))
    return Mangled(text.encode(), [note for note in notes if note in text])


TEXTS = st.one_of(st.sampled_from(["press-01", "true", "", " x ", "it's", 'say "hi"', "C:\\x", "a: b # c", "0x10", "~", "\n"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))  # fmt: skip
WANTED = st.builds(
    Wanted,
    connection_string=st.just(STRING),
    dynamic_reprovisioning=st.none() | st.booleans(),
    hostname=st.none() | TEXTS,
    agent_image=st.none() | st.just("registry.example/agent:1.1"),
    agent_auth=st.none() | st.just(AUTH),
    agent_env=st.dictionaries(ENV_NAMES, st.none() | TEXTS, max_size=4),
)
