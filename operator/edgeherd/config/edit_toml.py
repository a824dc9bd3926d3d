"""Edits config.toml (IoT Edge 1.2 and later) as the most careful human would.

Where the template has what is wanted in a comment, just the lines that are needed are uncommented in place. A section that
names hub, device and key one by one (as `iotedge config import` writes it) keeps its form. What comes out is read back and
compared before anybody gets it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from edgeherd.config import daemon_toml
from edgeherd.config.connection import parse_connection_string
from edgeherd.config.differences import changes, refuse_overruled
from edgeherd.config.toml_text import (
    Leaf,
    Path,
    TomlDraft,
    TomlSyntaxError,
    commented_pair,
    commented_table,
    rendered,
    unreadable,
)
from edgeherd.config.values import X509, Edit, Problem, UneditableError, Version, Wanted, refuse

PLACEHOLDER = (
    "HostName=example.azure-devices.net;DeviceId=my-device;SharedAccessKey=YXppb3QtaWRlbnRpdHktc2VydmljZXxhemlvdC1pZGU="
)
"""The template's example of a connection string."""
_PLACEHOLDER_KEY = parse_connection_string(PLACEHOLDER).shared_access_key + "="

Kind = Literal["connection string", "parts", "x509", "other", ""]

_HEADINGS = {
    "connection string": "## Manual provisioning with connection string",
    "x509": "## Manual provisioning with X.509 certificate",
}
_IN_TEMPLATE = {
    "connection string": (
        commented_table("provisioning"),
        commented_pair("source", '"manual"'),
        commented_pair("connection_string"),
    ),
    "x509": (
        commented_table("provisioning"),
        commented_pair("source", '"manual"'),
        commented_pair("iothub_hostname"),
        commented_pair("device_id"),
        commented_table("provisioning.authentication"),
        commented_pair("method", '"x509"'),
        commented_pair("identity_pk"),
        commented_pair("identity_cert"),
    ),
}
_OWNED: tuple[Path, ...] = (
    ("provisioning",),
    ("hostname",),
    ("auto_reprovisioning_mode",),
    ("agent", "config", "image"),
    ("agent", "config", "auth"),
    ("agent", "env"),
)
_MODES = {True: "Dynamic", False: "OnErrorOnly"}
_AUTH = ("serveraddress", "username", "password")


def edit(text: str, wanted: Wanted, version: Version) -> Edit:
    """The text with what is wanted.

    Raises:
        UneditableError: it cannot be done safely.
    """
    draft = _draft(text)
    try:
        _make(draft, wanted, version)
        return _verified(text, draft, version, wanted)
    except TomlSyntaxError:
        raise _laid_out_oddly() from None


def _make(draft: TomlDraft, wanted: Wanted, version: Version) -> None:
    if wanted.connection_string is not None:
        _provision(draft, _connection_string(wanted.connection_string), "connection string")
    elif wanted.x509 is not None:
        _provision(draft, _x509(wanted.x509), "x509")
    if wanted.dynamic_reprovisioning is not None:
        _put_top(draft, "auto_reprovisioning_mode", _MODES[wanted.dynamic_reprovisioning])
    if wanted.hostname is not None:
        _put_top(draft, "hostname", wanted.hostname)
    env = {name: value for name, value in wanted.agent_env.items() if value is not None}
    if wanted.agent_image is not None or wanted.agent_auth is not None or env:
        _put_agent(draft, wanted, env, version)
    for name in [name for name in wanted.agent_env if name not in env]:
        draft.remove(("agent", "env", name))


def _laid_out_oddly() -> UneditableError:
    message = "The tables of the file are laid out in a way that leaves no place for the change. Use plain [tables]."
    return refuse(None, "layout", message)


def deprovision(text: str, version: Version) -> Edit:
    """The text with the manual section a comment again, and the template's example in it.

    Raises:
        UneditableError: it cannot be done safely.
    """
    draft = _draft(text)
    if _kind(draft.data.get("provisioning")) not in {"connection string", "parts", "x509"}:
        return Edit(content=text.encode(), changes=(), restarts=False)
    try:
        _scrub(draft)
        draft.comment_out(("provisioning",))
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


def _draft(text: str) -> TomlDraft:
    draft = TomlDraft(text)
    try:
        draft.data  # noqa: B018 - whether it is TOML at all
    except TomlSyntaxError as exc:
        raise unreadable(exc) from None
    return draft


def _connection_string(text: str) -> dict[Path, Leaf]:
    return {("source",): "manual", ("connection_string",): text}


def _x509(x509: X509) -> dict[Path, Leaf]:
    return {
        ("source",): "manual",
        ("iothub_hostname",): x509.iothub_hostname,
        ("device_id",): x509.device_id,
        ("authentication", "method"): "x509",
        ("authentication", "identity_pk"): x509.identity_pk,
        ("authentication", "identity_cert"): x509.identity_cert,
    }


def _kind(section: Any) -> Kind:
    """What an active section is; '' for one that is no whole section."""
    if not isinstance(section, dict):
        return ""
    if section.get("source") != "manual":
        return "other" if section.get("source") in {"dps", "none"} else ""
    inner = section.get("authentication")
    if inner is None:
        return "connection string" if set(section) <= {"source", "connection_string"} else ""
    if "connection_string" in section or not isinstance(inner, dict):
        return ""
    if inner.get("method") == "sas":
        key = inner.get("device_id_pk")
        return "parts" if isinstance(key, dict) and "value" in key and "uri" not in key else ""
    cert = inner.get("identity_cert")
    return "x509" if inner.get("method") == "x509" and not isinstance(cert, dict) else ""


def _provision(draft: TomlDraft, section: dict[Path, Leaf], kind: str) -> None:
    """Make the one active section be `section`."""
    active = draft.data.get("provisioning")
    found = _kind(active)
    if kind == "connection string" and found == "parts":
        section = _parts(str(section["connection_string",]), active)
    elif found != kind:
        place = None
        if active is not None:
            _scrub(draft)
            place = draft.comment_out(("provisioning",))
        if not _uncomment(draft, kind):
            _write_new(draft, section, kind, place)
    for path, value in section.items():
        draft.put(("provisioning", *path), value)


def _parts(text: str, active: Any) -> dict[Path, Leaf]:
    """A connection string taken apart; a key that says the same without its padding stays."""
    string = parse_connection_string(text)
    key = dict(part.split("=", 1) for part in text.split(";"))["SharedAccessKey"]
    given = active["authentication"]["device_id_pk"]["value"]
    same = isinstance(given, str) and given.rstrip("=") == key.rstrip("=")
    return {
        ("iothub_hostname",): string.host_name,
        ("device_id",): string.device_id,
        ("authentication", "device_id_pk", "value"): given if same else key,
    }


def _scrub(draft: TomlDraft) -> None:
    """What was ours must not stay behind in a comment."""
    secrets = {("connection_string",): PLACEHOLDER, ("authentication", "device_id_pk", "value"): _PLACEHOLDER_KEY}
    for path, value in secrets.items():
        if isinstance(draft.said(("provisioning", *path)), str):
            draft.put(("provisioning", *path), value)


def _uncomment(draft: TomlDraft, kind: str) -> bool:
    """Uncomment the template's section, unless what stands below would slip into it."""
    before, others = draft.text, _foreign(draft.data)
    if not draft.uncomment("provisioning", _IN_TEMPLATE[kind]):
        return False
    if _unharmed(draft, others) and _kind(draft.data.get("provisioning")) == kind:
        return True
    draft.splice(0, len(draft.text), before)
    return False


def _write_new(draft: TomlDraft, section: dict[Path, Leaf], kind: str, place: int | None) -> None:
    """A section in the template's style: below the one that it replaces if nothing slips into it, or at the end."""
    lines = [_HEADINGS[kind], "[provisioning]"]
    lines += [f"{path[0]} = {rendered(value)}" for path, value in section.items() if len(path) == 1]
    inner = [f"{path[1]} = {rendered(value)}" for path, value in section.items() if len(path) > 1]
    if inner:
        lines += ["", "[provisioning.authentication]", *inner]
    if place is not None:
        before, others = draft.text, _foreign(draft.data)
        draft.insert_below(place, ["", *lines])
        if _unharmed(draft, others):
            return
        draft.splice(0, len(draft.text), before)
    draft.append(lines)


def _put_top(draft: TomlDraft, name: str, value: Leaf) -> None:
    """A key above the first table: where the template has it in a comment, there."""
    if draft.said((name,)) is None:
        lines = draft.text.split("\n")
        first = next((s.line for s in draft.statements if s.header), len(lines) + 1)
        is_it = commented_pair(name)
        number = next((n for n, line in enumerate(lines[: first - 1]) if is_it(line)), None)
        if number is not None:
            ending = "\r" if lines[number].endswith("\r") else ""
            lines[number] = f"{name} = {rendered(value)}{ending}"
            draft.splice(0, len(draft.text), "\n".join(lines))
            return
    draft.put((name,), value)


def _put_agent(draft: TomlDraft, wanted: Wanted, env: Mapping[str, str], version: Version) -> None:
    if draft.data.get("agent") is None:
        _begin_agent(draft)
    image = wanted.agent_image
    if image is None and draft.said(("agent", "config", "image")) is None:
        image = daemon_toml.default_image(version)
    if image is not None:
        draft.put(("agent", "config", "image"), image)
    if wanted.agent_auth is not None:
        auth = wanted.agent_auth
        if draft.said(("agent", "config", "auth")) is None:
            lines = [commented_table("agent.config.auth"), *(commented_pair(name) for name in _AUTH)]
            draft.uncomment("agent.config.auth", lines)
        for name, value in zip(_AUTH, (auth.server_address, auth.username, auth.password), strict=True):
            draft.put(("agent", "config", "auth", name), value)
    if env and draft.said(("agent", "env")) is None:
        draft.uncomment("agent.env", [commented_table("agent.env")])
    for name, value in env.items():
        draft.put(("agent", "env", name), value)


def _begin_agent(draft: TomlDraft) -> None:
    """An agent's section with what it must have."""
    lines = [
        commented_table("agent"),
        commented_pair("name", '"edgeAgent"'),
        commented_pair("type", '"docker"'),
        commented_table("agent.config"),
        commented_pair("image"),
    ]
    before, others = draft.text, _foreign(draft.data)
    if draft.uncomment("agent", lines) and _unharmed(draft, others):
        return
    draft.splice(0, len(draft.text), before)
    draft.append(["[agent]", 'name = "edgeAgent"', 'type = "docker"'])


def _verified(before: str, draft: TomlDraft, version: Version, wanted: Wanted | None) -> Edit:
    """The edit, read back: `config apply` takes it and reads what is wanted, and nothing but ours differs.

    `wanted` is None for an undo, after which nothing is provisioned.

    Raises:
        UneditableError: it does not hold; nothing leaves this module then.
    """
    after = draft.text
    settings, problems = daemon_toml.understand(after, version)
    if problems and wanted is not None:
        raise UneditableError(tuple(problems))
    old, new, ours = TomlDraft(before).data, draft.data, () if wanted is None else tuple(wanted.agent_env)
    if _foreign(old, ours) != _foreign(new, ours) or (wanted is None and "provisioning" in new):
        raise refuse(None, "self-check", "The edit would change more than it should. Nothing was written; report this.")
    if wanted is not None and settings is not None:
        refuse_overruled(wanted, settings)
    then, _ = daemon_toml.understand(before, version)
    restarts = after != before and (settings is None or then is None or settings.meaning != then.meaning)
    return Edit(content=after.encode(), changes=changes(_owned(old), _owned(new)), restarts=restarts)


def _foreign(data: dict[str, Any], env: Sequence[str] = ()) -> Any:
    """All that the file says, without what is ours, and without the agent's name and type where they are the usual.

    `env` are the keys of the agent's environment that are ours.
    """
    said = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    for name in ("provisioning", "hostname", "auto_reprovisioning_mode"):
        said.pop(name, None)
    agent = said.get("agent")
    if isinstance(agent, dict):
        if isinstance(agent.get("env"), dict):
            kept = {key: value for key, value in agent.pop("env").items() if key not in env}
            agent |= {"env": kept} if kept else {}
        if isinstance(agent.get("config"), dict):
            kept = {key: value for key, value in agent["config"].items() if key not in {"image", "auth"}}
            agent["config"] = kept
            if not kept:
                del agent["config"]
        for key, usual in (("name", "edgeAgent"), ("type", "docker")):
            if agent.get(key) == usual:
                del agent[key]
        if not agent:
            del said["agent"]
    return said


def _unharmed(draft: TomlDraft, others: object) -> bool:
    """Whether the text still is TOML and says the same of what is not ours."""
    try:
        return bool(_foreign(draft.data) == others)
    except TomlSyntaxError:
        return False


def _owned(data: dict[str, Any]) -> dict[Path, str]:
    """What is ours, by path."""
    found: dict[Path, str] = {}

    def walk(value: Any, path: Path) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        else:
            found[path] = str(value).lower() if isinstance(value, bool) else str(value)

    for path in _OWNED:
        node: Any = data
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        if node is not None:
            walk(node, path)
    return found
