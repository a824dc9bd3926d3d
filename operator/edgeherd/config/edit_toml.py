"""Edits config.toml (IoT Edge 1.2 and later) as the most careful human would.

Where the template has what is wanted in a comment, just the lines that are needed are uncommented in place. A section that
names hub, device and key one by one (as `iotedge config import` writes it) keeps its form. What comes out is read back and
compared before anybody gets it.
"""

from collections.abc import Mapping
from typing import Any

from edgeherd.config import daemon_toml, meaning, toml_provisioning
from edgeherd.config.differences import changes, refuse_faults, refuse_overruled
from edgeherd.config.toml_draft import Leaf, TomlDraft, pair_text
from edgeherd.config.toml_grammar import parsed, unreadable
from edgeherd.config.toml_statements import Path, TomlSyntaxError
from edgeherd.config.toml_template import commented_pair, commented_table
from edgeherd.config.values import Edit, Problem, UneditableError, Version, Wanted, refuse

_TOLD: tuple[Path, ...] = (
    ("provisioning",),
    ("hostname",),
    ("auto_reprovisioning_mode",),
    ("agent", "name"),
    ("agent", "type"),
    ("agent", "config", "image"),
    ("agent", "config", "auth"),
    ("agent", "env"),
)
"""What an edit may change, in the order in which it is told."""
_MODES = {True: "Dynamic", False: "OnErrorOnly"}
_AUTH = ("serveraddress", "username", "password")
_AGENT = {"name": "edgeAgent", "type": "docker"}
"""The only name and type that the daemon knows what to do with."""


def edit(text: str, wanted: Wanted, version: Version) -> Edit:
    """The text with what is wanted.

    Raises:
        UneditableError: it cannot be done safely.
    """
    draft = _draft(text, version)
    try:
        _make(draft, wanted, version)
        return _verified(text, draft, version, wanted)
    except TomlSyntaxError:
        raise _laid_out_oddly() from None


def _make(draft: TomlDraft, wanted: Wanted, version: Version) -> None:
    toml_provisioning.provision(draft, wanted)
    if wanted.dynamic_reprovisioning is not None:
        _put_top(draft, "auto_reprovisioning_mode", _MODES[wanted.dynamic_reprovisioning])
    if wanted.hostname is not None:
        _put_top(draft, "hostname", wanted.hostname)
    env = {name: value for name, value in wanted.agent_env.items() if value is not None}
    for name in [name for name in wanted.agent_env if name not in env]:
        draft.remove(("agent", "env", name))
    if wanted.agent_image is not None or wanted.agent_auth is not None or env:
        _put_agent(draft, wanted, env, version)
    elif isinstance(draft.data.get("agent"), dict):
        _complete_agent(draft, None, version)


def _laid_out_oddly() -> UneditableError:
    message = "The tables of the file are laid out in a way that leaves no place for the change. Use plain [tables]."
    return refuse(None, "layout", message)


def deprovision(text: str, version: Version) -> Edit:
    """The text with the manual section a comment again, and the template's example in it.

    Raises:
        UneditableError: it cannot be done safely.
    """
    draft = _draft(text, version)
    section = draft.data.get("provisioning")
    if not isinstance(section, dict) or section.get("source") != "manual":
        return Edit(content=text.encode(), changes=(), restarts=False)
    try:
        toml_provisioning.deprovision(draft)
        return _verified(text, draft, version, None)
    except TomlSyntaxError:
        raise _laid_out_oddly() from None


def editable_problems(text: str, version: Version) -> tuple[Problem, ...]:
    """Why the file would not be edited; nothing if it would."""
    try:
        edit(text, Wanted(connection_string="HostName=h;DeviceId=d;SharedAccessKey=QQ=="), version)
    except UneditableError as exc:
        return exc.problems
    return ()


def _draft(text: str, version: Version) -> TomlDraft:
    try:
        parsed(text, version)
    except TomlSyntaxError as exc:
        raise unreadable(exc) from None
    return TomlDraft(text, version)


def _put_top(draft: TomlDraft, name: str, value: Leaf) -> None:
    """A key above the first table: where the template has it in a comment, there."""
    if draft.said((name,)) is None:
        lines = draft.text.split("\n")
        first = next((s.line for s in draft.statements if s.header), len(lines) + 1)
        is_it, taken = commented_pair(name), draft.taken()
        above = enumerate(lines[: first - 1])
        number = next((n for n, line in above if name in line and n not in taken and is_it(line)), None)
        if number is not None:
            ending = "\r" if lines[number].endswith("\r") else ""
            lines[number] = f"{pair_text([name], value)}{ending}"
            draft.become("\n".join(lines))
            return
    draft.put((name,), value)


def _put_agent(draft: TomlDraft, wanted: Wanted, env: Mapping[str, str], version: Version) -> None:
    if draft.data.get("agent") is None:
        _begin_agent(draft)
    _complete_agent(draft, wanted.agent_image, version)
    if wanted.agent_auth is not None:
        auth = wanted.agent_auth
        if draft.said(("agent", "config", "auth")) is None:
            lines = [commented_table("agent.config.auth"), *(commented_pair(name) for name in _AUTH)]
            _uncomment_table(draft, ("agent", "config", "auth"), lines)
        login = zip(_AUTH, (auth.server_address, auth.username, auth.password), strict=True)
        draft.put_all({("agent", "config", "auth", name): value for name, value in login})
    if env and draft.said(("agent", "env")) is None:
        _uncomment_table(draft, ("agent", "env"), [commented_table("agent.env")])
    draft.put_all({("agent", "env", name): value for name, value in env.items()})


def _begin_agent(draft: TomlDraft) -> None:
    """An agent's section with what it must have."""
    lines = [
        commented_table("agent"),
        commented_pair("name", '"edgeAgent"'),
        commented_pair("type", '"docker"'),
        commented_table("agent.config"),
        commented_pair("image"),
    ]
    if not _uncomment_table(draft, ("agent",), lines):
        draft.append(["[agent]", *(pair_text([name], value) for name, value in _AGENT.items())])


def _complete_agent(draft: TomlDraft, image: str | None, version: Version) -> None:
    """What an agent must have: where it has not, there is one name and one type that it can be."""
    agent = draft.data["agent"]
    if isinstance(agent, dict):
        absent = {name: value for name, value in _AGENT.items() if name not in agent}
        first = next((s for s in draft.below(("agent",)) if s.header), None)
        if len(absent) == len(_AGENT) and first is not None and first.path != ("agent",) and not _has_dots(draft):
            draft.insert_above(first, ["[agent]", *(pair_text([name], value) for name, value in absent.items()), ""])
        for name, value in absent.items():
            draft.put(("agent", name), value)
    if image is None and draft.said(("agent", "config", "image")) is None:
        image = daemon_toml.default_image(version)
    if image is not None:
        draft.put(("agent", "config", "image"), image)


def _has_dots(draft: TomlDraft) -> bool:
    return any(not s.table for s in draft.below(("agent",)))


def _uncomment_table(draft: TomlDraft, path: Path, lines: list[Any]) -> bool:
    """Uncomment a table, unless what stands below would slip into it, or it would be one too many."""
    before, others = draft.text, draft.others(path)
    if draft.uncomment(".".join(path), lines) and draft.is_unharmed(others, path):
        return True
    draft.become(before)
    return False


def _verified(before: str, draft: TomlDraft, version: Version, wanted: Wanted | None) -> Edit:
    """The edit, read back: `config apply` takes it and reads what is wanted, and nothing but that differs.

    `wanted` is None for an undo, after which nothing is provisioned.

    Raises:
        UneditableError: it does not hold; nothing leaves this module then.
    """
    then, faults = daemon_toml.understand(before, version)
    old = parsed(before, version)
    if draft.text != before:
        draft.sweep(toml_provisioning.own_keys(wanted, old))
    after = draft.text
    settings, problems = (then, faults) if after == before else daemon_toml.understand(after, version)
    if wanted is not None:
        refuse_faults(problems, faults)
    owned = _owned(wanted, old)
    new = parsed(after, version)
    is_same = meaning.same(meaning.without(old, owned), meaning.without(new, owned))
    if not is_same or (wanted is None and "provisioning" in new):
        raise refuse(None, "self-check", "The edit would change more than it should. Nothing was written; report this.")
    if wanted is not None and settings is not None:
        refuse_overruled(wanted, settings)
    restarts = after != before and (settings is None or then is None or settings.meaning != then.meaning)
    return Edit(content=after.encode(), changes=changes(_told(old), _told(new)), restarts=restarts)


def _owned(wanted: Wanted | None, old: Mapping[str, Any]) -> list[Path]:
    """What an edit may change, in a file that said `old`: what is wanted, and what an agent must have."""
    if wanted is None:
        return [("provisioning",)]
    agent = old.get("agent")
    needs_agent = wanted.agent_image is not None or wanted.agent_auth is not None
    needs_agent = needs_agent or any(value is not None for value in wanted.agent_env.values())
    paths: list[Path] = [("agent", "env", name) for name in wanted.agent_env]
    paths += toml_provisioning.owned(wanted, old.get("provisioning"))
    if wanted.dynamic_reprovisioning is not None:
        paths.append(("auto_reprovisioning_mode",))
    if wanted.hostname is not None:
        paths.append(("hostname",))
    if needs_agent or isinstance(agent, dict):
        must = [("agent", "name"), ("agent", "type"), ("agent", "config", "image")]
        paths += [path for path in must if meaning.at(old, path) is None]
    if wanted.agent_image is not None:
        paths.append(("agent", "config", "image"))
    if wanted.agent_auth is not None:
        paths += [("agent", "config", "auth", name) for name in _AUTH]
    return paths


def _told(data: Mapping[str, Any]) -> dict[Path, str]:
    """What an edit may change, by path."""
    found: dict[Path, str] = {}

    def walk(value: Any, path: Path) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        else:
            found[path] = str(value).lower() if isinstance(value, bool) else str(value)

    for path in _TOLD:
        node = meaning.at(data, path)
        if node is not None:
            walk(node, path)
    return found
