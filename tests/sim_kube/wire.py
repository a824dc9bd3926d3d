"""A small HTTP client for API servers, which says nothing but what it is told."""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: HTTPMessage = field(repr=False)


@dataclass(frozen=True, slots=True)
class Client:
    """One server and one token."""

    url: str
    token: str
    ca_file: Path

    def send(
        self, method: str, path: str, body: Any = None, *, media: str = JSON, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request; a body that is no bytes becomes JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.token}", "Accept": JSON, "User-Agent": "tests/1", **(headers or {})}
        if data is not None:
            sent["Content-Type"] = media
        request = urllib.request.Request(f"{self.url}{path}", data, sent, method=method)  # noqa: S310 - our own address
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as response:  # noqa: S310 - the same
                return Answer(response.status, _parsed(response.read()), response.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, _parsed(error.read()), error.headers)

    def lines(self, path: str) -> list[Any]:
        """The events of a watch that ends by itself."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.url}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, context=context, timeout=30) as response:  # noqa: S310 - the same
            return [json.loads(line) for line in response.read().splitlines()]

    def namespace(self, name: str) -> str:
        """A namespace, made unless it is there."""
        self.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()
