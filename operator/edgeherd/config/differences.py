"""What differs between two readings of a file, for people: secrets are masked."""

from collections.abc import Mapping
from typing import Literal

from edgeherd.config.connection import parse_connection_string
from edgeherd.config.masking import masked_value, shown_key
from edgeherd.config.values import Change, Settings, Wanted, refuse

Path = tuple[str, ...]


def refuse_overruled(wanted: Wanted, settings: Settings) -> None:
    """Refuse an edit after which the daemon reads something else than what is wanted.

    Raises:
        UneditableError: another key of the file has the last word.
    """
    pairs: list[tuple[str, object, object]] = [
        ("hostname", wanted.hostname, settings.hostname),
        ("agent.config.image", wanted.agent_image, settings.agent_image),
        ("provisioning", wanted.x509, settings.x509),
        *((f"agent.env.{name}", value, settings.agent_env.get(name)) for name, value in wanted.agent_env.items()),
    ]
    # What shall not be there is compared the other way round: None is no wish to the loop below.
    gone = [name for name, value in wanted.agent_env.items() if value is None]
    pairs += [(f"agent.env.{name}", settings.agent_env.get(name), None) for name in gone]
    if wanted.connection_string is not None:
        parts = [parse_connection_string(text) for text in (wanted.connection_string, settings.connection_string)]
        pairs.append(("provisioning", parts[0], parts[1]))
    for path, value, read in pairs:
        if value is not None and value != read:
            message = f"Another line of the file overrules {path}: look for keys with dots or a '?'. Fix it by hand."
            raise refuse(None, "overruled", message)


def owned_paths(wanted: Wanted | None) -> tuple[Path, ...]:
    """What an edit may touch: the provisioning section, and what is wanted. An undo touches the section alone."""
    if wanted is None:
        return (("provisioning",),)
    auth = [("agent", "config", "auth")] if wanted.agent_auth is not None else []
    image = [("agent", "config", "image")] if wanted.agent_image is not None else []
    hostname = [("hostname",)] if wanted.hostname is not None else []
    env = [("agent", "env", name) for name in wanted.agent_env]
    return (("provisioning",), *hostname, *image, *auth, *env)


def changes(before: Mapping[Path, str], after: Mapping[Path, str]) -> tuple[Change, ...]:
    """One change for each path whose value differs."""
    found = []
    for path in [*before, *(path for path in after if path not in before)]:
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        action: Literal["Add", "Change", "Remove"] = "Add" if old is None else "Remove" if new is None else "Change"
        name = ".".join(path)
        shown = ["" if value is None else masked_value(name, value) for value in (old, new)]
        where = ".".join(map(shown_key, path))
        found.append(Change(path=where, action=action, before=shown[0], after=shown[1]))
    return tuple(found)
