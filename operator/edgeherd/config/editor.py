"""The two dialects behind one door: bytes in, bytes out."""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator

from edgeherd.config import (
    daemon_toml,
    daemon_yaml,
    dialects,
    edit_toml,
    edit_yaml,
    invisible,
    limits,
    masking,
    misplaced,
    toml_grammar,
    yaml_tree,
)
from edgeherd.config.connection import ConnectionStringError, check_for_device, parts_of
from edgeherd.config.repairs import repaired, repaired_toml
from edgeherd.config.shapes import Problems, errors
from edgeherd.config.toml_draft import TomlDraft
from edgeherd.config.toml_statements import TomlSyntaxError
from edgeherd.config.values import (
    Change,
    Dialect,
    Edit,
    InvalidConfigError,
    Problem,
    Settings,
    UneditableError,
    Verdict,
    Version,
    Wanted,
    refuse,
)
from edgeherd.config.yaml_draft import Draft
from edgeherd.masking import MASK

_NEWEST_TOML = Version((1, 6))
"""Reads all that the others read, but for dates that are none."""


def fingerprint(content: bytes) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(content).hexdigest()


def edit(content: bytes, wanted: Wanted, *, version: Version) -> Edit:
    """The file with what is wanted; the same bytes where it says so already.

    Raises:
        UneditableError: it cannot be edited safely, or what is wanted the daemon would refuse.
    """
    text = _text(content, version)
    try:
        json.dumps(dataclasses.asdict(wanted), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise refuse(None, "value", "A value has a character that no file can hold.") from None
    _refuse_line_breaks(wanted)
    if wanted.connection_string is not None:
        try:
            check_for_device(wanted.connection_string)
        except ConnectionStringError as exc:
            raise refuse(None, "connection-string", str(exc)) from None
    if version.dialect is Dialect.TOML:
        return edit_toml.edit(text, wanted, version)
    try:
        return edit_yaml.edit(text, wanted, version)
    except yaml_tree.SyntaxProblemError:
        raise _unreadable(text, version) from None


def _refuse_line_breaks(wanted: Wanted) -> None:
    """Credentials of a registry have none: one that is there slipped in, mostly at the end of a file with a password."""
    for field in dataclasses.fields(wanted.agent_auth) if wanted.agent_auth is not None else ():
        if re.search(r"[\r\n]", getattr(wanted.agent_auth, field.name)):
            name = field.name.replace("_", "")
            message = f"What is wanted as agent.config.auth.{name} has a line break in it. Take it out."
            raise refuse(None, "value", message)


def deprovision(content: bytes, *, version: Version) -> Edit:
    """The file without what `edit` put in: the template's placeholder is back.

    Raises:
        UneditableError: it cannot be edited safely.
    """
    text = _text(content, version)
    if version.dialect is Dialect.TOML:
        return edit_toml.deprovision(text, version)
    try:
        return edit_yaml.deprovision(text, version)
    except yaml_tree.SyntaxProblemError:
        raise _unreadable(text, version) from None


def sweep(content: bytes, device_id: str, *, version: Version) -> Edit:
    """The file without the keys that its comments have in connection strings of that device; all else stays.

    Raises:
        UneditableError: it cannot be read.
    """
    text = _text(content, version)
    strings = [parts_of(found) for found in _CONNECTION_STRING.findall(text)]
    keys = {key for _, device, key in strings if device == device_id}
    try:
        draft = TomlDraft(text, version) if version.dialect is Dialect.TOML else Draft(text)
        draft.sweep(keys)
    except yaml_tree.SyntaxProblemError:
        raise _unreadable(text, version) from None
    change = Change(path="comments", action="Remove", before=MASK, after="")
    return Edit(content=draft.text.encode(), changes=() if draft.text == text else (change,), restarts=False)


_CONNECTION_STRING = re.compile(r"[^\s\"'\u201c\u201d]*SharedAccessKey=[^\s\"'\u201c\u201d]*")


def _unreadable(text: str, version: Version) -> UneditableError:
    problems = tuple(daemon_yaml.understand(text, version)[1])
    if problems:
        return UneditableError(problems)
    return refuse(None, "layout", "The file is laid out in a way that leaves no place for the change. Fix it by hand.")


def _understand(text: str, version: Version) -> tuple[Settings | None, Problems]:
    understand = daemon_toml.understand if version.dialect is Dialect.TOML else daemon_yaml.understand
    return understand(text, version)


def check(content: bytes, *, version: Version) -> Verdict:
    """The file as the daemon of that version judges it, and whether it would be edited."""
    try:
        text = _decoded(content)
    except UneditableError as exc:
        return Verdict(valid=False, editable=False, problems=exc.problems)
    settings, problems = _understand(text, version)
    hindrances = _hindrances(content, problems, version)
    causes = [p for p in hindrances if p.rule in _CAUSES]
    if causes and errors(problems):
        problems = causes  # what the daemon stumbles over further down follows from them
    known = {(problem.line, problem.rule) for problem in problems}
    others = [
        dataclasses.replace(p, severity="warning") for p in hindrances if (p.line, p.rule) not in known
    ] + _misplaced(text, version)
    unjudged = any(problem.severity == "unjudged" for problem in problems)
    valid = None if settings is not None and unjudged else settings is not None
    return Verdict(valid=valid, editable=not hindrances, problems=(*problems, *others))


_UNSEEN_TOLD = 20
"""So many characters that nobody sees are told one by one; `repair` mends all of them."""

_CAUSES = ("bom", "invisible", "dialect")
"""What is wrong with a file as a whole: other errors are told only where there is none of these."""


def _hindrances(content: bytes, problems: Problems, version: Version) -> tuple[Problem, ...]:
    try:
        text = _text(content, version)
        if version.dialect is Dialect.TOML:
            return edit_toml.editable_problems(text, version)
        return edit_yaml.editable_problems(text, version)
    except UneditableError as exc:
        return exc.problems
    except yaml_tree.SyntaxProblemError:
        return tuple(problems)


def _misplaced(text: str, version: Version) -> list[Problem]:
    """Of config.toml alone: its tables end where the next begins, which is easy to miss."""
    tree = daemon_toml.tree(text, version) if version.dialect is Dialect.TOML else None
    return list(misplaced.warnings(tree)) if tree is not None else []


def load(content: bytes, *, version: Version) -> Settings:
    """What the daemon of that version understands.

    Raises:
        InvalidConfigError: the daemon refuses the file.
    """
    try:
        text = _decoded(content)
    except UneditableError as exc:
        raise InvalidConfigError(exc.problems) from None
    settings, problems = _understand(text, version)
    if settings is None:
        raise InvalidConfigError(tuple(problems))
    return settings


def repair(content: bytes, *, version: Version) -> tuple[bytes, tuple[str, ...]]:
    """The file without the malformations that are known, and a sentence for each that was fixed.

    Raises:
        UneditableError: it still cannot be read.
    """
    if version.dialect is Dialect.TOML:
        text, fixed = repaired_toml(_decoded(content))
        try:
            toml_grammar.parsed(text, version)
        except TomlSyntaxError as exc:
            raise toml_grammar.unreadable(exc) from None
        return text.encode(), fixed
    text, fixed = repaired(_decoded(content))
    try:
        yaml_tree.documents(text)
    except yaml_tree.SyntaxProblemError:
        raise _unreadable(text, version) from None
    return text.encode(), fixed


def masked_diff(before: bytes, after: bytes, *, name: str) -> str:
    """A unified diff for people, secrets masked."""
    texts = [content.decode("utf-8", "replace") for content in (before, after)]
    secrets = [secret for text in texts for secret in masking.secrets_in(_values(text))]
    return masking.masked_diff(texts[0], texts[1], name=name, secrets=secrets)


def _values(text: str) -> list[tuple[str, str]]:
    """Every text value of a file of either dialect, with its path; none of a file that cannot be read."""
    with contextlib.suppress(TomlSyntaxError):
        said = toml_grammar.parsed(text, _NEWEST_TOML)
        return [(f".{'.'.join(path)}", value) for path, value in toml_grammar.leaves(said) if isinstance(value, str)]
    with contextlib.suppress(yaml_tree.SyntaxProblemError):
        found = [pair for root in yaml_tree.documents(text) for pair in yaml_tree.scalars(root)]
        return [(path, node.text) for path, node in found]
    return []


def _decoded(content: bytes) -> str:
    limits.check_bytes(content)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise refuse(line, "encoding", "The file is not UTF-8. Save it as UTF-8 without BOM.") from None
    limits.check_text(text)
    return text


def _text(content: bytes, version: Version) -> str:
    """The text, if it may be edited at all."""
    text = _decoded(content)
    if not dialects.belongs_to(text, version.dialect):
        is_toml = version.dialect is Dialect.TOML
        found, read = ("config.yaml", "config.toml") if is_toml else ("config.toml", "config.yaml")
        message = (
            f"The file is a {found} by its content, and IoT Edge {version} reads a {read}. Name the file of that version, or the "
            "version that reads this one."
        )
        raise refuse(None, "dialect", message)
    if text.startswith("\ufeff"):
        message = (
            "The file begins with a byte order mark (BOM), which hides its first word from the daemon. Save it as UTF-8 without BOM."
            if version.dialect is Dialect.YAML
            else "The file begins with a byte order mark (BOM). The daemon skips it, other programs do not. Save it without."
        )
        raise refuse(1, "bom", message)
    unseen = invisible.places(text, version.dialect)
    if unseen:
        raise UneditableError(tuple(_invisible(text, unseen)))
    if version.dialect is Dialect.TOML:
        return text
    tab = re.search(r"^ *\t", text, re.MULTILINE) if "\t" in text else None
    odd = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)", text)
    if tab and text[tab.end() : tab.end() + 1] not in {"", "\n", "\r"}:
        message = "The line is indented with a tab, which hides it from the daemon. Indent with two spaces."
        raise refuse(text.count("\n", 0, tab.start()) + 1, "tab", message)
    if odd:
        message = "The line has a control character. Remove it."
        raise refuse(text.count("\n", 0, odd.start()) + 1, "control-character", message)
    return text


def _invisible(text: str, places: list[int]) -> Iterator[Problem]:
    """One problem for each of the first lines that have characters that nobody sees."""
    lines = {text.count("\n", 0, place) + 1: text[place] for place in reversed(places[:_UNSEEN_TOLD])}
    for line, character in sorted(lines.items()):
        message = (
            f"The line has a {invisible.name(character)}, which nobody sees and which is no space to the daemon. "
            "Write the line anew, or let 'edgeherd config repair' do it."
        )
        yield Problem(line=line, severity="error", rule="invisible", message=message)
