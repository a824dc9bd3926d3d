"""The daemon's configuration file: read, judged and edited. Pure; no file, network or cluster is touched here.

`edit` gives the bytes that say what is wanted and nothing else changed; `check` says what the daemon would say.
"""

from edgeherd.config.connection import ConnectionString, ConnectionStringError, parse_connection_string
from edgeherd.config.editor import check, deprovision, edit, fingerprint, load, masked_diff, repair, sweep
from edgeherd.config.limits import MAX_BYTES
from edgeherd.config.toml_grammar import parsed as plain_toml
from edgeherd.config.values import (
    X509,
    Change,
    ConfigError,
    Dialect,
    Edit,
    InvalidConfigError,
    Problem,
    RegistryAuth,
    Settings,
    UneditableError,
    Verdict,
    Version,
    Wanted,
)
from edgeherd.config.yaml_tree import dumped as yaml_of
from edgeherd.config.yaml_tree import plain as plain_yaml

__all__ = [
    "MAX_BYTES",
    "X509",
    "Change",
    "ConfigError",
    "ConnectionString",
    "ConnectionStringError",
    "Dialect",
    "Edit",
    "InvalidConfigError",
    "Problem",
    "RegistryAuth",
    "Settings",
    "UneditableError",
    "Verdict",
    "Version",
    "Wanted",
    "check",
    "deprovision",
    "edit",
    "fingerprint",
    "load",
    "masked_diff",
    "parse_connection_string",
    "plain_toml",
    "plain_yaml",
    "repair",
    "sweep",
    "yaml_of",
]
