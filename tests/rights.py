"""Rights in words, as `patch edgeherd.io/edgedevices/status`: what roles grant, and what an audit log says was asked for."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Body = Mapping[str, Any]


def right(verb: str, group: str, resource: str) -> str:
    """One right. The resource may have a subresource; the core group has no name."""
    return f"{verb} {f'{group}/' if group else ''}{resource}"


def granted(bodies: Iterable[Body]) -> set[str]:
    """All that the roles among these objects grant."""
    rules = [rule for body in bodies if body["kind"] in {"Role", "ClusterRole"} for rule in body["rules"]]
    return {
        right(verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@dataclasses.dataclass(frozen=True, slots=True)
class AuditLog:
    """The audit log of an API server, at level Metadata (`audit.k8s.io/v1`)."""

    path: pathlib.Path

    @property
    def size(self) -> int:
        """How long it is by now, in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def asked(self, user: str, *, since: int = 0) -> set[str]:
        """What a user asked for and may do."""
        return {_asked(entry) for entry in self._entries(user, since) if _decision(entry) == "allow"}

    def denied(self, user: str, *, since: int = 0) -> set[str]:
        """What a user asked for and may not do. A quota's refusal, or a namespace's that is going, is none."""
        return {_asked(entry) for entry in self._entries(user, since) if _decision(entry) == "forbid"}

    def _entries(self, user: str, since: int) -> Iterator[Body]:
        """The requests for resources; discovery has none. The last line may be on its way."""
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(since)
            lines = [line for line in stream if line.endswith(b"\n")]
        for line in lines:
            entry = json.loads(line)
            if entry["user"]["username"] == user and "objectRef" in entry:
                yield entry


def _decision(entry: Body) -> str:
    return str(entry.get("annotations", {}).get("authorization.k8s.io/decision"))


def _asked(entry: Body) -> str:
    ref = entry["objectRef"]
    resource = "/".join(ref[key] for key in ("resource", "subresource") if ref.get(key))
    return right(entry["verb"], ref.get("apiGroup", ""), resource)
