"""What people may see of a file: everything but the secrets.

Two nets, because a file that a person mangled has secrets in odd places: expressions for what looks like one, and the
values that the parsed file has where secrets are. `edgeherd.masking` has the looks; the names and the lines of a file
are known here. Its expressions take time in proportion to the text, as those there do.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

from edgeherd.masking import MASK, masked, secrets_of

_WORDS = r"password|passwd|secret|token|symmetric_key|_key|apikey|api-key|accountkey|credential"
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
_PUBLIC_NAME = re.compile(r"identity_pk$|\.uri$", re.IGNORECASE)
_LOGIN = re.compile(r"(?<![^\s\"'@])(?P<secret>[^\s\"'@:]*+:[^\s\"'@]++)@")
"""A login without a scheme before it; only where a proxy is spoken of, because image references look alike."""
_NAMED = rf"(?=[\w.\- ]*(?:{_WORDS}))[\w.\- ]++[\"']?\s*+"
"""A name, looked at from its beginning, that says that its value is a secret; with the quotation mark after it."""
_PAIR = re.compile(
    rf"(?P<head>(?<![\w.\- ]){_NAMED}[:=]\s*+)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*+\"?|'[^']*+(?:''[^']*+)*+'?|[^\s,}#][^,}#]*+)",
    re.IGNORECASE,
)
_TOML_VALUE = re.compile(r"(\bvalue\s*=\s*)(\"[^\"]*\"|'[^']*')")
"""In config.toml only keys stand in a `value`."""
_BLOCK = re.compile(rf"(?P<indent>\s*+)[\"']?{_NAMED}:\s*+[|>]", re.IGNORECASE)
"""A name as that of `_PAIR`, whose value are the lines below."""
_PEM = re.compile(r"-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----")
"""The lines around a private key."""
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
        return MASK
    if path.endswith(("device_id_pk.value", "symmetric_key.value")):
        return MASK
    if path.endswith("connection_string") and not _is_harmless(value):
        return MASK
    return _masked_text(value, proxy="proxy" in path.lower())


def _is_harmless(connection_string: str) -> bool:
    """Whether what stands there is a placeholder, or a string whose key is found and masked by its name."""
    text = connection_string.strip("\"'")
    return not text or text.startswith("<") or ("SharedAccessKey=" in text and "HostName=" in text) or "x509=" in text


def _masked_text(text: str, *, proxy: bool) -> str:
    return masked(text, also=(_LOGIN,) if proxy else ())


def _masked_line(line: str) -> str:
    line = _TOML_VALUE.sub(rf'\1"{MASK}"', line)
    line = _STRING.sub(lambda m: m[0] if _is_harmless(m[2]) else m[1] + MASK, line)
    line = _PAIR.sub(lambda m: m[0] if _PUBLIC_NAME.search(m["head"].strip(" :=\"'")) else m["head"] + MASK, line)
    return _masked_text(line, proxy="proxy" in line.lower())


def secrets_in(values: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What of a file's values, each with its path, is a secret."""
    for path, value in values:
        if masked_value(path, value) == MASK:
            yield value
        yield from secrets_of(value)


def _masked_lines(lines: Sequence[str], secrets: Sequence[str]) -> list[str]:
    shown, deeper, in_pem = [], -1, False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        inside, edges = in_pem, _PEM.findall(line)
        in_pem = edges[-1] == "BEGIN" if edges else in_pem
        if inside or (deeper >= 0 and (indent > deeper or not line.strip())):
            shown.append(f"{line[:indent]}{MASK}" if line.strip() else line)
            continue
        block = _BLOCK.match(line)
        deeper = len(block["indent"]) if block else -1
        without = line
        for secret in secrets:
            without = without.replace(secret, MASK)
        shown.append(_masked_line(without))
    return shown


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
