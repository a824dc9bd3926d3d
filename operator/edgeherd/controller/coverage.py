"""Which of the watches that there should be are open, as a session's requests tell. Pure."""

from collections.abc import Iterable

from edgeherd.cluster.client import Exchange


class Coverage:
    """The lists and watches of a session. kopf itself tells nobody whether it watches."""

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths` are those that are to be watched: a kind, in a namespace or in all."""
        self._paths = frozenset(paths)
        self._open: set[str] = set()
        self._listed: set[str] = set()
        self.trouble = ""
        """What was wrong with the last request that did not go well."""

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def complete(self) -> bool:
        """Whether all are open."""
        return self._open == self._paths

    def take(self, exchange: Exchange) -> bool:
        """Count a request in. Whether it began to list again what was listed before."""
        if not went_well(exchange):
            self.trouble = _trouble(exchange)
            self._open.discard(exchange.path)
        elif exchange.path not in self._paths:
            pass
        elif exchange.query.get("watch") == "true":
            self._open.add(exchange.path)
        elif "continue" not in exchange.query:
            again = exchange.path in self._listed
            self._listed.add(exchange.path)
            return again
        return False

    def ends_with(self, exchange: Exchange) -> bool:
        """Whether nothing can come of it any more: the login is refused, or the kind is not served."""
        return exchange.status == 401 or (exchange.status == 404 and exchange.path in self._paths)


def went_well(exchange: Exchange) -> bool:
    """Whether the API server did what it was asked."""
    return 200 <= exchange.status < 400


def _trouble(exchange: Exchange) -> str:
    if not exchange.status:
        return f"The API server did not answer: {exchange.trouble}"
    if exchange.status == 401:
        return "The API server refuses the operator's login (401)"
    return f"The API server answered {exchange.status} to {exchange.path}"
