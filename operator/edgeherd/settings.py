"""What a process of the operator is told from outside: environment variables, read once."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Self

_NAMESPACE_FILE = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings."""

    namespace: str
    """Where the Secrets of HubConnections are: the operator's own namespace."""
    kubeconfig: str | None
    """A kubeconfig file; None inside of a Pod."""
    workers: int
    """Passes at once."""
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From EDGEHERD_NAMESPACE, KUBECONFIG, EDGEHERD_WORKERS and EDGEHERD_LOG_LEVEL.

        Raises:
            ValueError: a value cannot be used; the text names the variable.
        """
        workers = environment.get("EDGEHERD_WORKERS", "32")
        if not workers.isdigit() or not 1 <= int(workers) <= 512:
            raise ValueError(f"EDGEHERD_WORKERS must be a number from 1 to 512, not '{workers}'")
        level = environment.get("EDGEHERD_LOG_LEVEL", "INFO").upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError(f"EDGEHERD_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not '{level}'")
        return cls(
            namespace=environment.get("EDGEHERD_NAMESPACE") or _own_namespace(),
            kubeconfig=environment.get("KUBECONFIG") or None,
            workers=int(workers),
            log_level=level,
        )


def _own_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError:
        return "edgeherd-system"
