"""What differs between two readings of a file, for people: secrets are masked."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Literal

from edgeherd.config.connection import parse_connection_string
from edgeherd.config.masking import masked_value, shown_key
from edgeherd.config.shapes import errors
from edgeherd.config.values import Change, Problem, Settings, UneditableError, Wanted, refuse

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


def refuse_faults(after: Iterable[Problem], before: Iterable[Problem]) -> None:
    """Refuse an edit whose result the daemon would refuse, and say whose fault it is.

    What was wrong before is told with its line in the file as it is. What is wrong only afterwards comes from what is wanted:
    it has no line that a person could look at.

    Raises:
        UneditableError: the daemon would stop at something.
    """
    left = errors(after)
    if not left:
        return
    known = {(problem.rule, problem.message): problem.line for problem in before}
    told = []
    for problem in left:
        if problem.rule == "syntax" and problem.rule not in {rule for rule, _ in known}:
            # No value that is wanted breaks a file: what could not be read was ours.
            message = "The edit would make a file that nobody can read. Nothing was written; report this."
            raise refuse(None, "self-check", message)
        if (problem.rule, problem.message) in known:
            told.append(dataclasses.replace(problem, line=known[problem.rule, problem.message]))
        else:
            message = f"With what is wanted the daemon would refuse the file: {problem.message}"
            told.append(dataclasses.replace(problem, line=None, message=message))
    raise UneditableError(tuple(told))


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
