"""Edits config.yaml (IoT Edge 1.0 and 1.1) as the most careful human would.

A section that says the right thing already is left to the byte. Where the file has the wanted section in a comment it
is uncommented in place; other provisioning sections are commented out as the templates do it. What comes out is read
back and compared before anybody gets it.
"""

import re
from typing import Any

from edgeherd.config import daemon_yaml, meaning, scrubbing, yaml_tree
from edgeherd.config.comments import commented
from edgeherd.config.connection import PLACEHOLDER, parts_of
from edgeherd.config.differences import changes, refuse_faults, refuse_overruled
from edgeherd.config.values import X509, Edit, Problem, UneditableError, Version, Wanted, refuse
from edgeherd.config.yaml_draft import Draft, Leaf, Tree, block, refuse_references
from edgeherd.config.yaml_tree import AliasNode, ListNode, MapNode, Node, ScalarNode

Path = meaning.Path

_PLACEHOLDERS = {"device_connection_string": PLACEHOLDER, "symmetric_key": "<SYMMETRIC_KEY>"}

_HEADINGS = {
    "connection string": "# Manual provisioning configuration using a connection string",
    "x509": "# Manual provisioning configuration using an X.509 identity certificate",
}
_NESTED_SINCE = (1, 0, 10)
_TOLD: tuple[Path, ...] = (
    ("provisioning",),
    ("hostname",),
    ("agent", "config", "image"),
    ("agent", "config", "auth"),
    ("agent", "env"),
)
"""What an edit may change, in the order in which it is told."""
_COMMENTED = re.compile(r"^#( ?)provisioning:[ \t]*\r?$", re.MULTILINE)


def edit(text: str, wanted: Wanted, version: Version) -> Edit:
    """The text with what is wanted.

    Raises:
        UneditableError: it cannot be done safely.
    """
    draft = Draft(text)
    tree = _other_values(wanted)
    if wanted.connection_string is not None:
        section = _connection_string(wanted.connection_string)
        tree["provisioning"] = _provision(draft, section, wanted.dynamic_reprovisioning, version)
    elif wanted.x509 is not None:
        if version.numbers < _NESTED_SINCE:
            raise refuse(None, "version", f"IoT Edge {version} knows no manual provisioning with X.509. Update it.")
        tree["provisioning"] = _provision(draft, _x509(wanted.x509), wanted.dynamic_reprovisioning, version)
    elif wanted.dynamic_reprovisioning is not None and draft.root.get("provisioning") is not None:
        tree["provisioning"] = {"dynamic_reprovisioning": wanted.dynamic_reprovisioning}
    draft.put_all(tree)
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
    draft.put_all({"provisioning": _provision(draft, _connection_string(PLACEHOLDER), None, version)})
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


def _other_values(wanted: Wanted) -> dict[str, Leaf | Tree]:
    """All that is wanted but for the provisioning section."""
    tree: dict[str, Leaf | Tree] = {} if wanted.hostname is None else {"hostname": wanted.hostname}
    config: dict[str, Leaf | Tree] = {} if wanted.agent_image is None else {"image": wanted.agent_image}
    if wanted.agent_auth is not None:
        auth = wanted.agent_auth
        config["auth"] = {"username": auth.username, "password": auth.password, "serveraddress": auth.server_address}
    env: Tree = {name: value for name, value in wanted.agent_env.items() if value is not None}
    agent = {name: value for name, value in (("config", config), ("env", env)) if value}
    return tree | {"agent": agent} if agent else tree


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


def _provision(draft: Draft, section: Tree, dynamic: bool | None, version: Version) -> Tree:
    """Make the one active section be one of that kind. Returns what is to be put into it."""
    kind = "x509" if "authentication" in section else "connection string"
    active = draft.root.get("provisioning")
    if active is not None:
        refuse_references(active, "provisioning")
    if active is None or _kind(active, version) != kind:
        below = _comment_out(draft) if active is not None else None
        if not _uncomment(draft, kind, version):
            _write_new(draft, section, kind, version, below)
    if dynamic is None and not _is_bool(draft.root, "dynamic_reprovisioning"):
        dynamic = False
    return {**_fitting(draft, section, version), **({} if dynamic is None else {"dynamic_reprovisioning": dynamic})}


def _is_bool(root: MapNode, name: str) -> bool:
    """Whether the provisioning section has a boolean of that name, or nothing at all."""
    section = root.get("provisioning")
    value = section.get(name) if isinstance(section, MapNode) else None
    return value is None or (isinstance(value, ScalarNode) and isinstance(value.value, bool))


def _fitting(draft: Draft, section: Tree, version: Version) -> Tree:
    """The values of an active section of the right kind, in the form that it has."""
    active = draft.root.get("provisioning")
    assert isinstance(active, MapNode)  # noqa: S101 - `_provision` saw to it
    null = active.get("authentication")
    if isinstance(null, ScalarNode) and null.value is None and daemon_nulls_refused(version):
        raise refuse(null.line, "null", "provisioning.authentication has no value. Remove the line.")
    fitting = {key: value for key, value in section.items() if key != "source" or active.get("source") is not None}
    if isinstance(null, MapNode) and "device_connection_string" in fitting:
        fitting["authentication"] = {"device_connection_string": fitting.pop("device_connection_string")}
    return fitting


def daemon_nulls_refused(version: Version) -> bool:
    """Whether that version refuses keys without a value."""
    return (1, 0, 8) <= version.numbers < (1, 0, 10, 4)


def _comment_out(draft: Draft) -> int:
    """Comment the active section out as the templates do, without its secrets. Returns a place on its last line."""
    _, section = draft.root.named("provisioning")[-1]
    for path, value in reversed(list(yaml_tree.scalars(section, "provisioning"))):
        shown = scrubbing.replacement(path, value.text, _PLACEHOLDERS)
        if shown is not None:
            draft.replace(value, shown)
    key, section = draft.root.named("provisioning")[-1]
    if isinstance(section, MapNode) and section.flow and "\n" in draft.text[section.start : section.end]:
        raise refuse(section.line, "layout", "provisioning is a mapping in braces over several lines. Fix it by hand.")
    start, end = draft.line_start(key.start), draft.line_end(max(key.end, draft.last(section)))
    section_out = commented(scrubbing.without_secrets(draft.text[start:end], _PLACEHOLDERS))
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
    old = Draft(before).root
    then, faults = daemon_yaml.understand(before, version)
    if draft.text != before:
        draft.sweep(_keys(wanted, old), kept=(wanted.connection_string or "") if wanted is not None else "")
    after = draft.text
    settings, problems = (then, faults) if after == before else daemon_yaml.understand(after, version)
    refuse_faults([p for p in problems if wanted is not None or p.rule != "connection-string-placeholder"], faults)
    owned = _owned(wanted, old, version)
    said = [meaning.without(_plain(root), owned) for root in (old, draft.root)]
    if not meaning.same(*said):
        raise refuse(None, "self-check", "The edit would change more than it should. Nothing was written; report this.")
    if wanted is not None and settings is not None:
        refuse_overruled(wanted, settings)
    restarts = after != before and (settings is None or then is None or settings.meaning != then.meaning)
    return Edit(content=after.encode(), changes=changes(_told(old), _told(draft.root)), restarts=restarts)


def _keys(wanted: Wanted | None, old: MapNode) -> list[str]:
    """The keys that are, or were, the operator's own: no comment may hold them."""
    said = _plain(old)
    paths = [
        ("provisioning", "device_connection_string"),
        ("provisioning", "authentication", "device_connection_string"),
    ]
    texts = [wanted.connection_string if wanted is not None else None, *(meaning.at(said, path) for path in paths)]
    return [parts_of(text)[2] for text in texts if isinstance(text, str)]


def _plain(node: Node) -> Any:
    """What a node says, keys that the daemon ignores included; aliases are replaced by what they stand for."""
    match node:
        case MapNode():
            return {_key(key, number): _plain(value) for number, (key, value) in enumerate(node.entries)}
        case ListNode():
            return [_plain(item) for item in node.items]
        case ScalarNode():
            return node.value
        case AliasNode():
            return _plain(node.target)
    raise AssertionError(type(node))


def _key(key: Node, number: int) -> str:
    if isinstance(key, ScalarNode):
        return key.value if isinstance(key.value, str) else f"({type(key.value).__name__}) {key.text}"
    return f"(entry {number})"


def _owned(wanted: Wanted | None, old: MapNode, version: Version) -> list[Path]:
    """What an edit may change, in a file that said `old`: what is wanted and no more."""
    active = old.get("provisioning")
    kind = "" if active is None else _kind(active, version)
    if wanted is None:
        return _owned_provisioning("connection string", kind)
    paths: list[Path] = [("agent", "env", name) for name in wanted.agent_env]
    if wanted.connection_string is not None:
        paths += _owned_provisioning("connection string", kind)
    elif wanted.x509 is not None:
        paths += _owned_provisioning("x509", kind)
    if wanted.dynamic_reprovisioning is not None:
        paths.append(("provisioning", "dynamic_reprovisioning"))
    if wanted.hostname is not None:
        paths.append(("hostname",))
    if wanted.agent_image is not None:
        paths.append(("agent", "config", "image"))
    if wanted.agent_auth is not None:
        paths += [("agent", "config", "auth", name) for name in ("username", "password", "serveraddress")]
    return paths


def _owned_provisioning(wanted: str, found: str) -> list[Path]:
    """A section that is replaced is ours whole; of one that keeps its kind, the values that are wanted."""
    if wanted != found:
        return [("provisioning",)]
    names = ["source", "dynamic_reprovisioning"]
    inner = ["device_connection_string"]
    if wanted == "x509":
        inner = ["method", "iothub_hostname", "device_id", "identity_cert", "identity_pk"]
    else:
        names += inner
    paths = [("provisioning", name) for name in names]
    return [*paths, *(("provisioning", "authentication", name) for name in inner)]


def _told(root: MapNode) -> dict[Path, str]:
    """What an edit may change, by path."""
    found: dict[Path, str] = {}

    def walk(node: Node, path: Path) -> None:
        if isinstance(node, MapNode):
            for key, value in node.entries:
                walk(value, (*path, key.text if isinstance(key, ScalarNode) else "?"))
        elif isinstance(node, ScalarNode) and node.value is not None:
            found[path] = str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
        elif path[:-1] == ("agent", "env"):
            found[path] = ""  # the daemon reads null as an empty text there

    for path in _TOLD:
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
