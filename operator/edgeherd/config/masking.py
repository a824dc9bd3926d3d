"""What people may see of a file: everything but the secrets."""

import difflib
import re

_SECRET_NAME = re.compile(r"password|passwd|secret|token|symmetric_key|_key$|apikey|credential", re.IGNORECASE)
_IN_TEXT = (
    (re.compile(r"(SharedAccessKey\s*=\s*)[^;\"'\s]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"(SharedAccessSignature\s+|\bsig=)[^\"'\s&]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"(://)[^/@\s\"']+@"), r"\1***@"),
    (re.compile(r"([?&]pin-value=)[^&\"'\s]+"), r"\1***"),
)
_LINE = re.compile(
    r"(?P<head>^[\s#]*(?:- )?[\"']?[\w.\-]*(?:password|passwd|secret|token|symmetric_key|apikey|credential)[\w.\-]*[\"']?"
    r"\s*[:=]\s*)(?P<value>\S.*)$",
    re.IGNORECASE,
)
_TOML_VALUE = re.compile(r"(\bvalue\s*=\s*)(\"[^\"]*\"|'[^']*')")
"""In config.toml only keys stand in a `value`."""


def masked_value(path: str, value: str) -> str:
    """A value for people; masked whole where its name says that it is a secret."""
    if _SECRET_NAME.search(path.rpartition(".")[2]) or path.endswith((".device_id_pk.value", ".symmetric_key.value")):
        return "***"
    return masked_text(value)


def masked_text(text: str) -> str:
    """A text without keys of connection strings, signatures, and passwords in URLs."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _masked_line(line: str) -> str:
    line = _TOML_VALUE.sub(r'\1"***"', line)
    return masked_text(_LINE.sub(lambda m: f"{m['head']}***", line))


def masked_diff(before: bytes, after: bytes, *, name: str) -> str:
    """A unified diff for people. The lines are compared as they are and masked afterwards."""
    old, new = (content.decode("utf-8", "replace").splitlines() for content in (before, after))
    lines = difflib.unified_diff(old, new, f"{name} (before)", f"{name} (after)", lineterm="")
    return "".join(f"{line[:1]}{_masked_line(line[1:])}\n" for line in lines)
