"""Takes secrets out of what becomes a comment, or is one: nobody looks for a key there when it is replaced."""

from collections.abc import Collection, Iterable, Mapping

from edgeherd.config.masking import masked_value
from edgeherd.masking import MASK, secrets_of

REMOVED = "<REMOVED>"
"""What stands in a comment in place of a secret."""

Placeholders = Mapping[str, str]
"""What the template has in place of a secret, by the end of its path."""

_SHORTEST = 6
"""A key that is shorter is not looked for: it would be found in words."""


def replacement(path: str, value: str, placeholders: Placeholders) -> str | None:
    """What stands in a comment in place of a value; None for one that is no secret."""
    if value in placeholders.values():
        return None
    for end, placeholder in placeholders.items():
        if path.endswith(end):
            return placeholder
    if masked_value(path, value) == MASK:
        return REMOVED
    shown = without_secrets(value, placeholders)
    return shown if shown != value else None


def without_secrets(text: str, placeholders: Placeholders) -> str:
    """A text without what looks like a secret; the template's own examples stay."""
    known = " ".join(placeholders.values())
    for secret in sorted(set(secrets_of(text)), key=len, reverse=True):
        if secret not in known and secret not in {REMOVED, MASK}:
            text = text.replace(secret, REMOVED)
    return text


def swept(text: str, keys: Collection[str], values: Iterable[tuple[int, int]]) -> str:
    """A file without these keys outside of its values, whose places are given in their order."""
    cores = [core for core in (key.rstrip("=") for key in keys) if len(core) >= _SHORTEST and core in text]
    if not cores:
        return text
    out, place = [], 0
    for start, end in (*values, (len(text), len(text))):
        between = text[place:start]
        for core in cores:
            for padding in ("==", "=", ""):
                between = between.replace(core + padding, REMOVED)
        out += [between, text[start:end]]
        place = max(place, end)
    return "".join(out)
