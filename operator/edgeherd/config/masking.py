"""What people may see of a file: everything but the secrets.

Two nets, because a file that a person mangled has secrets in odd places: patterns for what looks like one, and the
values that the parsed file has where secrets are.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

_WORDS = r"password|passwd|secret|token|symmetric_key|_key|apikey|api-key|accountkey|credential"
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
_PUBLIC_NAME = re.compile(r"identity_pk$|\.uri$", re.IGNORECASE)
_IN_TEXT = (
    (re.compile(r"((?:SharedAccess|Account)Key\s*=\s*)[^;\"'\s,}]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"(SharedAccessSignature\s+|\bsig=)[^\"'\s&]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"([?&]pin-value=)[^&\"'\s]+"), r"\1***"),
)
_WITH_LOGIN = re.compile(r"(?<![^\s\"'])[^\s\"'@]*+@[^\s\"']*")
"""A word with an '@'. What is before it is looked at by hand: a pattern would begin anew at each character of a long text."""
_USER = re.compile(r"(?<![^:/])[^:/]+:(?=.)", re.DOTALL)
"""A user's name and more: a login without a scheme before it; only where a proxy is spoken of, because image references
look alike."""
_PAIR = re.compile(
    rf"(?P<head>[\"']?[\w.\- ]*(?:{_WORDS})[\w.\- ]*[\"']?\s*[:=]\s*)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"?|'(?:[^']|'')*'?|[^\s,}#][^,}#]*)",
    re.IGNORECASE,
)
_TOML_VALUE = re.compile(r"(\bvalue\s*=\s*)(\"[^\"]*\"|'[^']*')")
"""In config.toml only keys stand in a `value`."""
_BLOCK = re.compile(rf"^(?P<indent>\s*)[\"']?[\w.\- ]*(?:{_WORDS})[\w.\- ]*[\"']?\s*:\s*[|>]", re.IGNORECASE)
_STRING = re.compile(r"((?:device_)?connection_string[\"']?\s*[:=]\s*)(\"[^\"]*\"?|'[^']*'?|[^\s#]+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
_SHORTEST = 6
"""A value that is shorter is not looked for elsewhere in the file: it would be found in words."""


def shown_key(name: str) -> str:
    """A key of the file for people. One that is none, because a value slipped into its place, is not repeated."""
    return name if _NAME.fullmatch(name) else "(a key that is no name)"


def masked_value(path: str, value: str) -> str:
    """A value for people; masked whole where its name says that it is a secret."""
    if _SECRET_NAME.search(path) and not _PUBLIC_NAME.search(path):
        return "***"
    if path.endswith(("device_id_pk.value", "symmetric_key.value")):
        return "***"
    if path.endswith("connection_string") and not _is_harmless(value):
        return "***"
    return masked_text(value, proxy="proxy" in path.lower())


def _is_harmless(connection_string: str) -> bool:
    """Whether what stands there is a placeholder, or a string whose key is found and masked by its name."""
    text = connection_string.strip("\"'")
    return not text or text.startswith("<") or ("SharedAccessKey=" in text and "HostName=" in text) or "x509=" in text


def masked_text(text: str, *, proxy: bool = False) -> str:
    """A text without keys of connection strings, signatures, and passwords in URLs."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return _WITH_LOGIN.sub(lambda word: _without_logins(word[0], proxy=proxy), text)


def _without_logins(word: str, *, proxy: bool) -> str:
    """A word with `***` for what is between a `://` and the next `@`; with `proxy` for any `user:password` before one."""
    for start, end in reversed(_url_logins(word)):
        word = f"{word[:start]}***{word[end:]}"
    if not proxy:
        return word
    *before, last = word.split("@")
    users = [_USER.search(part) for part in before]
    return "@".join(
        [*(f"{part[: user.start()]}***" if user else part for part, user in zip(before, users, strict=True)), last]
    )


def _url_logins(word: str) -> list[tuple[int, int]]:
    """Where logins begin and end, behind a scheme."""
    found = []
    place = word.find("://")
    while place >= 0 and (at := word.find("@", place)) >= 0:
        if at > place + 3:
            found.append((place + 3, at))
        place = word.find("://", at)
    return found


def _masked_line(line: str) -> str:
    line = _TOML_VALUE.sub(r'\1"***"', line)
    line = _STRING.sub(lambda m: m[0] if _is_harmless(m[2]) else f"{m[1]}***", line)
    line = _PAIR.sub(lambda m: m[0] if _PUBLIC_NAME.search(m["head"].strip(" :=\"'")) else f"{m['head']}***", line)
    return masked_text(line, proxy="proxy" in line.lower())


def secrets_in(values: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What of a file's values, each with its path, is a secret."""
    for path, value in values:
        if masked_value(path, value) == "***":
            yield value
        for pattern, _ in _IN_TEXT:
            for match in pattern.finditer(value):
                yield match[0].removeprefix(match[1] if match.lastindex else "").strip("@")
        for word in _WITH_LOGIN.findall(value):
            for start, end in _url_logins(word):
                yield word[start:end]


def _masked_lines(lines: Sequence[str], secrets: Sequence[str]) -> list[str]:
    masked, deeper = [], -1
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if deeper >= 0 and (indent > deeper or not line.strip()):
            masked.append(f"{line[:indent]}***" if line.strip() else line)
            continue
        block = _BLOCK.match(line)
        deeper = len(block["indent"]) if block else -1
        shown = line
        for secret in secrets:
            shown = shown.replace(secret, "***")
        masked.append(_masked_line(shown))
    return masked


def masked_diff(before: str, after: str, *, name: str, secrets: Iterable[str]) -> str:
    """A unified diff for people. The lines are compared as they are and shown masked."""
    known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)
    old, new = before.split("\n"), after.split("\n")
    shown_old, shown_new = _masked_lines(old, known), _masked_lines(new, known)
    out: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(3):
        first, last = group[0], group[-1]
        out.append(f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                out += [f" {line}" for line in shown_old[i1:i2]]
                continue
            out += [f"-{line}" for line in shown_old[i1:i2]]
            out += [f"+{line}" for line in shown_new[j1:j2]]
    if not out:
        return ""
    return "\n".join([f"--- {name} (before)", f"+++ {name} (after)", *(line.rstrip("\r") for line in out)]) + "\n"


def _range(start: int, stop: int) -> str:
    """Lines of a hunk, as a unified diff counts them."""
    length = stop - start
    if length == 1:
        return f"{start + 1}"
    return f"{start + 1 if length else start},{length}"
