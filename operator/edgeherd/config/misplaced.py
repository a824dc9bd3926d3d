"""Keys that the daemon knows and does not read where they stand: it ignores them without a word.

Most often a line was added at the end of a file, and so fell into its last table.
"""

from collections.abc import Iterator, Mapping

from edgeherd.config.shapes import Item
from edgeherd.config.values import Problem

_TABLES: Mapping[str, frozenset[str]] = {
    "": frozenset(
        [
            "hostname",
            "parent_hostname",
            "local_gateway_hostname",
            "trust_bundle_cert",
            "auto_reprovisioning_mode",
            "cloud_timeout_sec",
            "cloud_retries",
            "allow_elevated_docker_permissions",
            "prefer_module_identity_cache",
            "additional_info",
            "imported_master_encryption_key",
        ]
    ),
    "provisioning": frozenset(
        [
            "source",
            "connection_string",
            "iothub_hostname",
            "device_id",
            "authentication",
            "global_endpoint",
            "id_scope",
            "attestation",
            "payload",
        ]
    ),
    "provisioning.authentication": frozenset(["method", "device_id_pk", "identity_cert", "identity_pk"]),
    "provisioning.attestation": frozenset(
        ["method", "registration_id", "symmetric_key", "identity_cert", "identity_pk"]
    ),
    "agent": frozenset(["name", "type", "imagePullPolicy", "config", "env"]),
    "agent.config": frozenset(["image", "imageHash", "createOptions", "digest", "auth"]),
    "agent.config.auth": frozenset(["serveraddress", "username", "password", "email"]),
    "moby_runtime": frozenset(["uri", "network", "content_trust"]),
    "watchdog": frozenset(["max_retries"]),
    "edge_ca": frozenset(
        [
            "cert",
            "pk",
            "method",
            "auto_generated_edge_ca_expiry_days",
            "auto_renew",
            "common_name",
            "subject",
            "expiry_days",
            "url",
            "username",
            "password",
            "identity_cert",
            "identity_pk",
            "bootstrap_identity_cert",
            "bootstrap_identity_pk",
        ]
    ),
    "connect": frozenset(["workload_uri", "management_uri"]),
    "listen": frozenset(["workload_uri", "management_uri", "min_tls_version"]),
}
_PLAIN = frozenset(
    ["name", "type", "method", "uri", "cert", "pk", "url", "username", "password", "common_name", "subject"]
)
"""Names that many things have: at another place they say nothing of where they belong."""
_ELDERS: Mapping[str, str] = {
    "dynamic_reprovisioning": "IoT Edge 1.2 and later read auto_reprovisioning_mode above the first table instead",
    "always_reprovision_on_startup": "IoT Edge 1.2 and later read auto_reprovisioning_mode above the first table instead",
    "device_connection_string": "IoT Edge 1.2 and later read connection_string instead",
    "scope_id": "IoT Edge 1.2 and later read id_scope instead",
}


def warnings(root: Item) -> Iterator[Problem]:
    """A warning for each key of a config.toml that stands where the daemon does not read it."""
    yield from _found(root, "")


def _found(item: Item, table: str) -> Iterator[Problem]:
    for name, inner in item.value.items():
        path = f"{table}.{name}" if table else name
        if path in _TABLES and isinstance(inner.value, dict):
            yield from _found(inner, path)
        elif name not in _TABLES[table] and (remedy := _remedy(name, table)):
            where = f"below [{table}]" if table else "outside of its table"
            message = f"{name} stands {where}, where the daemon ignores it: {remedy}."
            yield Problem(line=inner.line, severity="warning", rule="misplaced", message=message)


def _remedy(name: str, table: str) -> str:
    if name in _ELDERS:
        return _ELDERS[name]
    home = next((home for home, names in _TABLES.items() if name in names and home != table), None)
    if home is None or name in _PLAIN or (not table and name in _TABLES):
        return ""
    return f"move it below [{home}]" if home else "move it above the first table"
