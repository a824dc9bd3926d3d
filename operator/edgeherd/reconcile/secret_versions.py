"""Which version of its connection Secret each EdgeDevice was last seen to have. May be forgotten at any time."""

from edgeherd.model import Key


class SecretVersions:
    """Passes say what they left; whoever looks at Secrets from outside compares."""

    def __init__(self) -> None:
        self._seen: dict[Key, str] = {}

    def of(self, key: Key) -> str | None:
        """The resourceVersion; None where nobody has looked yet."""
        return self._seen.get(key)

    def saw(self, key: Key, version: str) -> None:
        """The Secret was right, or is what is compared with from now on."""
        self._seen[key] = version

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._seen.pop(key, None)
