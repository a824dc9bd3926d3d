"""Files of 1.2 and later as hypothesis makes them: every form of a table, keys at every place, remarks in between."""

from hypothesis import strategies as st

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
STRING = f"HostName=contoso.azure-devices.net;DeviceId=press-01;SharedAccessKey={KEY}"
OTHER = "HostName=fabrikam.azure-devices.net;DeviceId=press-00;SharedAccessKey=b2xkLXNlY3JldC1vZi1wcmVzcw=="

_PROVISIONING = {
    "none": {"source": '"none"'},
    "string": {"source": '"manual"', "connection_string": f'"{OTHER}"'},
    "string and more": {"source": '"manual"', "connection_string": f"'{OTHER}'", "mine": "[1, nan]"},
    "parts": {
        "source": '"manual"',
        "iothub_hostname": '"h"',
        "device_id": '"d"',
        "authentication.method": '"sas"',
        "authentication.device_id_pk.value": '"b2xkLXNlY3JldC1vZi1wcmVzcw=="',
    },
    "certificate": {
        "source": '"manual"',
        "iothub_hostname": '"h"',
        "device_id": '"d"',
        "authentication.method": '"x509"',
        "authentication.identity_cert": '"file:///c"',
        "authentication.identity_pk": '"file:///k"',
    },
    "dps": {
        "source": '"dps"',
        "global_endpoint": '"https://dps.example"',
        "id_scope": '"s"',
        "attestation.method": '"symmetric_key"',
        "attestation.registration_id": '"r"',
        "attestation.symmetric_key.value": '"b2xkLXNlY3JldC1vZi1wcmVzcw=="',
    },
}
_AGENTS = {
    "whole": {"name": '"edgeAgent"', "type": '"docker"', "config.image": '"i"'},
    "with its environment": {
        "name": '"edgeAgent"',
        "type": '"docker"',
        "config.image": '"i"',
        "config.createOptions.HostConfig.Binds": '["/a:/b"]',
        "env.A": '"x"',
        "env.Mine": '"y"',
    },
    "with its registry": {
        "name": '"edgeAgent"',
        "type": '"docker"',
        "config.image": '"i"',
        "config.auth.serveraddress": '"s"',
        "config.auth.username": '"u"',
        "config.auth.password": '"long enough"',
    },
    "without name and type": {"config.image": '"i"'},
    "without an image": {"env.A": '"x"'},
}
_ROOT = [
    'hostname = "edge1"',
    'auto_reprovisioning_mode = "OnErrorOnly"',
    "cloud_retries = 3 # thrice",
    "mine = nan",
    "when = 2020-02-29",
    'text = """\n# hostname = "x"\n# [provisioning]\n"""',
    "allow_elevated_docker_permissions = true",
]
_REMARKS = [
    "",
    "# a remark",
    '# hostname = "my-device"',
    '# [provisioning]\n# source = "manual"\n# connection_string = "HostName=h"',
    '# [agent]\n# name = "edgeAgent"\n# type = "docker"\n# [agent.config]\n# image = "i"',
    '# [agent.config.auth]\n# serveraddress = "s"\n# username = "u"\n# password = "p"',
    '# [agent.env]\n# "A" = "b"',
    "# ====",
]


def _inline(pairs: dict[str, str]) -> str:
    tree: dict[str, object] = {}
    for path, value in pairs.items():
        *above, name = path.split(".")
        node = tree
        for part in above:
            node = node.setdefault(part, {})  # type: ignore[assignment] # tables are made here alone
        node[name] = value

    def text(node: object) -> str:
        if not isinstance(node, dict):
            return str(node)
        return "{ " + ", ".join(f"{key} = {text(inner)}" for key, inner in node.items()) + " }"

    return text(tree)


def _headed(table: str, pairs: dict[str, str]) -> list[str]:
    """With a header for each table; those that hold tables alone have none."""
    tables: dict[str, list[str]] = {}
    for path, value in pairs.items():
        above, _, name = path.rpartition(".")
        tables.setdefault(f"{table}.{above}".rstrip("."), []).append(f"{name} = {value}")
    return ["\n".join([f"[{name}]", *lines]) for name, lines in tables.items()]


@st.composite
def _table(draw: st.DrawFn, table: str, pairs: dict[str, str]) -> tuple[list[str], list[str]]:
    """A table as lines of the root, and as blocks that begin with headers."""
    form = draw(st.sampled_from(["headers", "headers", "one header", "root with dots", "braces", "braces within"]))
    match form:
        case "headers":
            return [], _headed(table, pairs)
        case "one header":
            return [], ["\n".join([f"[{table}]", *(f"{path} = {value}" for path, value in pairs.items())])]
        case "root with dots":
            return [f"{table}.{path} = {value}" for path, value in pairs.items()], []
        case "braces":
            return [f"{table} = {_inline(pairs)}"], []
    flat = {path: value for path, value in pairs.items() if "." not in path}
    names = dict.fromkeys(path.partition(".")[0] for path in pairs if "." in path)
    inner = [
        f"{name} = {_inline({p.partition('.')[2]: v for p, v in pairs.items() if p.startswith(f'{name}.')})}"
        for name in names
    ]
    return [], ["\n".join([f"[{table}]", *(f"{path} = {value}" for path, value in flat.items()), *inner])]


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file that is TOML, and mostly one that the daemon takes."""
    root = draw(st.lists(st.sampled_from(_ROOT), unique=True, max_size=4))
    blocks = draw(
        st.lists(st.sampled_from(["[tpm]\ntcti = 'x'", "[[mine2]]\na = inf", "[x]\nhostname = 'y'"]), unique=True)
    )
    for table, choices in (("provisioning", _PROVISIONING), ("agent", _AGENTS)):
        chosen = draw(st.sampled_from(["", *choices]))
        if chosen:
            top, below = draw(_table(table, choices[chosen]))
            place = draw(st.integers(0, len(root)))
            root[place:place] = top
            place = draw(st.integers(0, len(blocks)))
            blocks[place:place] = below
    parts = [part for each in [*root, *blocks] for part in (draw(st.sampled_from(_REMARKS)), each)]
    parts.append(draw(st.sampled_from(_REMARKS)))
    text = "\n".join(parts) + draw(st.sampled_from(["\n", ""]))
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text
