"""What a process of the operator is told from outside: environment variables, read once."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Self

from edgeherd.controller.workqueue import Capacity

_NAMESPACE_FILE = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings."""

    namespace: str
    """Where the Secrets of HubConnections are: the operator's own namespace."""
    kubeconfig: str | None
    """A kubeconfig file; None inside of a Pod."""
    capacity: Capacity
    """Passes at once, and how namespaces share them."""
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From EDGEHERD_NAMESPACE, KUBECONFIG, EDGEHERD_LOG_LEVEL, and those of `_capacity`.

        Raises:
            ValueError: a value cannot be used; the text names the variable.
        """
        level = environment.get("EDGEHERD_LOG_LEVEL", "INFO").upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError(f"EDGEHERD_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not '{level}'")
        return cls(
            namespace=environment.get("EDGEHERD_NAMESPACE") or _own_namespace(),
            kubeconfig=environment.get("KUBECONFIG") or None,
            capacity=_capacity(environment),
            log_level=level,
        )


def _capacity(environment: Mapping[str, str]) -> Capacity:
    """From EDGEHERD_WORKERS, EDGEHERD_RESERVED_WORKERS, EDGEHERD_SLOW_WORKERS and EDGEHERD_PASSES_PER_JUMP_HOST.

    Without a value of their own, a quarter of the workers is reserved, and a quarter as many are for slow devices.
    """
    workers = _number(environment, "EDGEHERD_WORKERS", Capacity().workers, least=1, most=512)
    return Capacity(
        workers=workers,
        reserved_workers=_number(environment, "EDGEHERD_RESERVED_WORKERS", workers // 4, least=0, most=workers - 1),
        slow_workers=_number(environment, "EDGEHERD_SLOW_WORKERS", max(1, workers // 4), least=1, most=512),
        per_jump_host=_number(
            environment, "EDGEHERD_PASSES_PER_JUMP_HOST", Capacity().per_jump_host, least=1, most=512
        ),
    )


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}, not '{text}'")
    return int(text)


def _own_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError:
        return "edgeherd-system"
