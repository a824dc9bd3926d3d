"""Edits config.yaml (IoT Edge 1.0 and 1.1) as the most careful human would.

A section that says the right thing already is left to the byte. Where the file has the wanted section in a comment it
is uncommented in place; other provisioning sections are commented out as the templates do it. What comes out is read
back and compared before anybody gets it.
"""

import re
from collections.abc import Mapping

from edgeherd.config import daemon_yaml, yaml_tree
from edgeherd.config.comments import commented
from edgeherd.config.connection import PLACEHOLDER
from edgeherd.config.differences import changes, owned_paths, refuse_overruled
from edgeherd.config.values import X509, Edit, Problem, UneditableError, Version, Wanted, refuse
from edgeherd.config.yaml_draft import Draft, Leaf, Tree, block, refuse_references
from edgeherd.config.yaml_tree import ListNode, MapNode, Node, ScalarNode

_HEADINGS = {
    "connection string": "# Manual provisioning configuration using a connection string",
    "x509": "# Manual provisioning configuration using an X.509 identity certificate",
}
_NESTED_SINCE = (1, 0, 10)
_OWNED = (
    ("provisioning",),
    ("hostname",),
    ("agent", "config", "image"),
    ("agent", "config", "auth"),
    ("agent", "env"),
)
_COMMENTED = re.compile(r"^#( ?)provisioning:[ \t]*\r?$", re.MULTILINE)


def edit(text: str, wanted: Wanted, version: Version) -> Edit:
    """The text with what is wanted.

    Raises:
        UneditableError: it cannot be done safely.
    """
    draft = Draft(text)
    if wanted.connection_string is not None:
        _provision(draft, _connection_string(wanted.connection_string), wanted.dynamic_reprovisioning, version)
    elif wanted.x509 is not None:
        if version.numbers < _NESTED_SINCE:
            raise refuse(None, "version", f"IoT Edge {version} knows no manual provisioning with X.509. Update it.")
        _provision(draft, _x509(wanted.x509), wanted.dynamic_reprovisioning, version)
    elif wanted.dynamic_reprovisioning is not None and draft.root.get("provisioning") is not None:
        draft.put(("provisioning", "dynamic_reprovisioning"), wanted.dynamic_reprovisioning)
    for path, value in _other_values(wanted):
        draft.put(path, value)
    for name in [name for name, value in wanted.agent_env.items() if value is None]:
        draft.remove(("agent", "env", name))
    return _verified(text, draft, version, wanted)


def deprovision(text: str, version: Version) -> Edit:
    """The text with the placeholder in place of what was provisioned by hand. DPS and external sections stay.

    Raises:
        UneditableError: it cannot be done safely.
    """
    draft = Draft(text)
    active = draft.root.get("provisioning")
    if active is None or _kind(active, version) == "other":
        return Edit(content=text.encode(), changes=(), restarts=False)
    _provision(draft, _connection_string(PLACEHOLDER), None, version)
    return _verified(text, draft, version, None)


def _connection_string(text: str) -> Tree:
    return {"source": "manual", "device_connection_string": text}


def _x509(x509: X509) -> Tree:
    return {
        "source": "manual",
        "authentication": {
            "method": "x509",
            "iothub_hostname": x509.iothub_hostname,
            "device_id": x509.device_id,
            "identity_cert": x509.identity_cert,
            "identity_pk": x509.identity_pk,
        },
    }


def _other_values(wanted: Wanted) -> list[tuple[tuple[str, ...], Leaf]]:
    values: list[tuple[tuple[str, ...], Leaf]] = []
    if wanted.hostname is not None:
        values.append((("hostname",), wanted.hostname))
    if wanted.agent_image is not None:
        values.append((("agent", "config", "image"), wanted.agent_image))
    if wanted.agent_auth is not None:
        auth = wanted.agent_auth
        pairs = (("username", auth.username), ("password", auth.password), ("serveraddress", auth.server_address))
        values += [(("agent", "config", "auth", name), value) for name, value in pairs]
    return values + [(("agent", "env", name), value) for name, value in wanted.agent_env.items() if value is not None]


def _kind(section: Node, version: Version) -> str:
    """'connection string', 'x509', 'other', or '' for what is no whole section."""
    if not isinstance(section, MapNode) or not section.entries:
        return ""
    source = section.get("source")
    said = source.value if isinstance(source, ScalarNode) else "manual" if source is None else None
    if not isinstance(said, str) or said.lower() != "manual":
        return "other"
    flat, inner = section.get("device_connection_string"), section.get("authentication")
    if inner is None or (isinstance(inner, ScalarNode) and inner.value is None):
        return "connection string"
    if flat is not None or not isinstance(inner, MapNode) or version.numbers < _NESTED_SINCE:
        return ""
    method = inner.get("method")
    said = method.value if isinstance(method, ScalarNode) else None
    return {"device_connection_string": "connection string", "x509": "x509"}.get(str(said), "")


def _provision(draft: Draft, section: Tree, dynamic: bool | None, version: Version) -> None:
    """Make the one active section be `section`."""
    kind = "x509" if "authentication" in section else "connection string"
    active = draft.root.get("provisioning")
    if active is not None:
        refuse_references(active, "provisioning")
    if active is None or _kind(active, version) != kind:
        below = _comment_out(draft, version) if active is not None else None
        if not _uncomment(draft, kind, version):
            _write_new(draft, section, kind, version, below)
    _fit(draft, section, version)
    if dynamic is None and not _is_bool(draft.root, "dynamic_reprovisioning"):
        dynamic = False
    if dynamic is not None:
        draft.put(("provisioning", "dynamic_reprovisioning"), dynamic)


def _is_bool(root: MapNode, name: str) -> bool:
    """Whether the provisioning section has a boolean of that name, or nothing at all."""
    section = root.get("provisioning")
    value = section.get(name) if isinstance(section, MapNode) else None
    return value is None or (isinstance(value, ScalarNode) and isinstance(value.value, bool))


def _fit(draft: Draft, section: Tree, version: Version) -> None:
    """The values of an active section of the right kind."""
    active = draft.root.get("provisioning")
    assert isinstance(active, MapNode)  # noqa: S101 - `_provision` saw to it
    nested = isinstance(active.get("authentication"), MapNode) and "device_connection_string" in section
    for key, value in section.items():
        if isinstance(value, Mapping):
            for name, inner in value.items():
                assert not isinstance(inner, Mapping)  # noqa: S101 - sections are two levels deep
                draft.put(("provisioning", key, name), inner)
        elif nested and key == "device_connection_string":
            draft.put(("provisioning", "authentication", key), value)
        elif key != "source" or active.get("source") is not None:
            draft.put(("provisioning", key), value)
    null = active.get("authentication")
    if isinstance(null, ScalarNode) and null.value is None and daemon_nulls_refused(version):
        raise refuse(null.line, "null", "provisioning.authentication has no value. Remove the line.")


def daemon_nulls_refused(version: Version) -> bool:
    """Whether that version refuses keys without a value."""
    return (1, 0, 8) <= version.numbers < (1, 0, 10, 4)


def _comment_out(draft: Draft, version: Version) -> int:
    """Comment the active section out as the templates do. Returns a place on its last line."""
    key, section = draft.root.named("provisioning")[-1]
    if _kind(section, version) == "connection string":  # what was ours must not stay behind in a comment
        _fit(draft, _connection_string(PLACEHOLDER), version)
        key, section = draft.root.named("provisioning")[-1]
    if isinstance(section, MapNode) and section.flow and "\n" in draft.text[section.start : section.end]:
        raise refuse(section.line, "layout", "provisioning is a mapping in braces over several lines. Fix it by hand.")
    start, end = draft.line_start(key.start), draft.line_end(max(key.end, draft.last(section)))
    section_out = commented(draft.text[start:end])
    draft.splice(start, end, section_out)
    return start + len(section_out)


def _uncomment(draft: Draft, kind: str, version: Version) -> bool:
    """Uncomment the first section of that kind that the file has in a comment."""
    for head in _COMMENTED.finditer(draft.text):
        prefix = f"#{head[1]}"
        end = _end_of_comment(draft.text, head.end(), prefix)
        lines = [line.removeprefix(prefix) for line in draft.text[head.start() : end].split("\n")]
        section = _section(draft.text, "\n".join(lines))
        if section is None or _kind(section, version) != kind:
            continue
        surplus = section.entries[0][0].column - 2
        lines[1:] = [_shifted(line, surplus) for line in lines[1:]]
        draft.splice(head.start(), end, "\n".join(lines))
        return True
    return False


def _end_of_comment(text: str, place: int, prefix: str) -> int:
    """Where the commented section ends: its lines go on with the prefix and white space."""
    line = re.compile(rf"\n{re.escape(prefix)}[ ]+[^ \r\n][^\n]*")
    while found := line.match(text, place):
        place = found.end()
    return place


def _section(text: str, uncommented: str) -> MapNode | None:
    del text
    try:
        root = Draft(uncommented).root
    except (UneditableError, yaml_tree.SyntaxProblemError):
        return None
    section = root.get("provisioning")
    return section if isinstance(section, MapNode) and len(root.entries) == 1 else None


def _shifted(line: str, surplus: int) -> str:
    """A nested line, so far to the left (or right) that its section is indented by two."""
    if surplus > 0:
        return line[min(surplus, len(line) - len(line.lstrip(" "))) :]
    return " " * -surplus + line if line.strip() else line


def _write_new(draft: Draft, section: Tree, kind: str, version: Version, below: int | None) -> None:
    """A section in the template's style: below the one that it replaces, or at the end."""
    whole: dict[str, Leaf | Tree] = dict(section)
    if version.numbers >= _NESTED_SINCE:
        whole["dynamic_reprovisioning"] = False
    lines = [_HEADINGS[kind], *block({"provisioning": whole})]
    root = draft.root
    if below is None:
        below = max((draft.last(value) for _, value in root.entries), default=len(draft.text))
        below = max([below, *(key.end for key, _ in root.entries)])
    last = root.entries[-1][1] if root.entries else None
    while isinstance(last, MapNode) and last.entries:
        last = last.entries[-1][1]
    gap = [] if not draft.text.strip() or (last is not None and draft.keeps_blanks(last)) else [""]
    draft.insert_below(below, [*gap, *lines])


def _verified(before: str, draft: Draft, version: Version, wanted: Wanted | None) -> Edit:
    """The edit, read back: the daemon takes it and reads what is wanted, and nothing but ours differs.

    `wanted` is None for an undo, which leaves the placeholder that the daemon refuses.

    Raises:
        UneditableError: it does not hold; nothing leaves this module then.
    """
    after = draft.text
    settings, problems = daemon_yaml.understand(after, version)
    then, problems_then = daemon_yaml.understand(before, version)
    left = [p for p in problems if wanted is not None or p.rule != "connection-string-placeholder"]
    if left:
        raise UneditableError(tuple(_as_it_was(problem, problems_then) for problem in left))
    old, new, ours = Draft(before).root, draft.root, owned_paths(wanted)
    if _foreign(old, ours) != _foreign(new, ours):
        raise refuse(None, "self-check", "The edit would change more than it should. Nothing was written; report this.")
    if wanted is not None and settings is not None:
        refuse_overruled(wanted, settings)
    restarts = after != before and (settings is None or then is None or settings.meaning != then.meaning)
    return Edit(content=after.encode(), changes=changes(_owned(old), _owned(new)), restarts=restarts)


def _as_it_was(problem: Problem, before: list[Problem]) -> Problem:
    """A problem with its line in the file as it is, which is the one that a person sees."""
    line = next((p.line for p in before if (p.rule, p.message) == (problem.rule, problem.message)), None)
    return Problem(line=line, severity=problem.severity, rule=problem.rule, message=problem.message)


def _plain(node: Node) -> object:
    match node:
        case MapNode():
            return {key.text if isinstance(key, ScalarNode) else "?": _plain(value) for key, value in node.entries}
        case ListNode():
            return [_plain(item) for item in node.items]
        case ScalarNode():
            return (type(node.value).__name__, node.value)
        case _:
            return "alias"


def _foreign(root: MapNode, ours: tuple[tuple[str, ...], ...]) -> object:
    """All that the file says, without what is ours, and without mappings that held nothing else."""
    said = _plain(root)
    for path in ours:
        _drop(said, path)
    return said


def _drop(said: object, path: tuple[str, ...]) -> None:
    if not isinstance(said, dict):
        return
    name, *rest = path
    if rest:
        _drop(said.get(name), tuple(rest))
    if not rest or said.get(name) in ({}, ("NoneType", None)):
        said.pop(name, None)


def _owned(root: MapNode) -> dict[tuple[str, ...], str]:
    """What is ours, by path."""
    found: dict[tuple[str, ...], str] = {}

    def walk(node: Node, path: tuple[str, ...]) -> None:
        if isinstance(node, MapNode):
            for key, value in node.entries:
                walk(value, (*path, key.text if isinstance(key, ScalarNode) else "?"))
        elif isinstance(node, ScalarNode) and node.value is not None:
            found[path] = str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
        elif path[:-1] == ("agent", "env"):
            found[path] = ""  # the daemon reads null as an empty text there

    for path in _OWNED:
        node: Node | None = root
        for key in path:
            node = node.get(key) if isinstance(node, MapNode) else None
        if node is not None:
            walk(node, path)
    return found


def editable_problems(text: str, version: Version) -> tuple[Problem, ...]:
    """Why the file would not be edited; nothing if it would."""
    try:
        edit(text, Wanted(connection_string="HostName=h;DeviceId=d;SharedAccessKey=QQ=="), version)
    except UneditableError as exc:
        return exc.problems
    return ()
