"""What goes into the editor and what comes out of it: frozen values, free of any parser's types."""

import dataclasses
import enum
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, Self


class Dialect(enum.StrEnum):
    """Which file the daemon reads. The words are those of `spec.runtime.dialect`."""

    YAML = "ConfigYaml"
    """`/etc/iotedge/config.yaml`, IoT Edge 1.0 and 1.1."""
    TOML = "ConfigToml"
    """`/etc/aziot/config.toml`, IoT Edge 1.2 and later."""


class Version(NamedTuple):
    """A version of the runtime, as `iotedge version` says it. Compares by its numbers."""

    numbers: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From '1.1.15', '1.0.10.4' or '1.5.0~rc1'.

        Raises:
            ValueError: the text is no version.
        """
        match = re.match(r"(\d{1,4}(?:\.\d{1,4}){1,4})(?![\d.])", text.strip())
        if match is None:
            raise ValueError(f"'{text[:40]}' is not a version of IoT Edge such as 1.1.15")
        return cls(tuple(int(number) for number in match[1].split(".")))

    @property
    def dialect(self) -> Dialect:
        """The file that this version reads."""
        return Dialect.YAML if self.numbers < (1, 2) else Dialect.TOML

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAuth:
    """Credentials for the registry of the agent's image: `agent.config.auth`."""

    server_address: str
    username: str
    password: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class X509:
    """Manual provisioning with a certificate. `identity_cert` and `identity_pk` are file URIs on the device."""

    iothub_hostname: str
    device_id: str
    identity_cert: str
    identity_pk: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the file shall say. None, or a key that is not there, means: leave it as it is.

    `connection_string` and `x509` exclude each other. `agent_env` holds the keys that are ours, None for one that shall
    not be there; others stay.
    """

    connection_string: str | None = dataclasses.field(default=None, repr=False)
    x509: X509 | None = None
    dynamic_reprovisioning: bool | None = None
    hostname: str | None = None
    agent_image: str | None = None
    agent_auth: RegistryAuth | None = None
    agent_env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference in what the file says. `before` and `after` are shown to people: secrets are masked."""

    path: str
    action: Literal["Add", "Change", "Remove"]
    before: str
    after: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edited file. `restarts` says that the daemon will see other settings than before."""

    content: bytes = dataclasses.field(repr=False)
    changes: tuple[Change, ...]
    restarts: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in a file that a person should know of. `line` counts from 1. No text of it quotes a value.

    An error is what the daemon stops at; what is unjudged it may stop at, and the file alone does not tell.
    """

    line: int | None
    severity: Literal["error", "warning", "unjudged"]
    rule: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`valid`: the daemon of that version takes the file; None where that was not judged. `editable`: the editor would."""

    valid: bool | None
    editable: bool
    problems: tuple[Problem, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the daemon understands of a file.

    `source` is 'manual.device_connection_string', 'manual.x509', 'dps.…', 'external', or empty for none. `meaning` is
    a SHA-256 over everything that the daemon reads: when it changes, 1.0 and 1.1 delete their containers. `x509` is
    there when the source is 'manual.x509'.
    """

    source: str
    connection_string: str = dataclasses.field(repr=False)
    hostname: str
    agent_image: str
    agent_env: Mapping[str, str] = dataclasses.field(repr=False)
    meaning: str
    x509: X509 | None = None


class ConfigError(Exception):
    """A file cannot be used; `problems` say where and why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Problem, ...]]]:
        """For its way out of a worker process."""
        return type(self), (self.problems,)


class UneditableError(ConfigError):
    """The file cannot be edited safely; nothing was changed."""


class InvalidConfigError(ConfigError):
    """The daemon would refuse the file (exit status 153)."""


def refuse(line: int | None, rule: str, message: str) -> UneditableError:
    """An UneditableError about one thing."""
    return UneditableError((Problem(line=line, severity="error", rule=rule, message=message),))
