"""What a tree of config.yaml says, as yaml-rust and the daemon's reader of it put it together."""

from collections.abc import Iterator

from edgeherd.config.shapes import Item, Problems, complain
from edgeherd.config.yaml_tree import AliasNode, ListNode, MapNode, Node, ScalarNode

_MOST_VALUES = 50_000
"""The largest file that is looked at has far fewer lines."""


class TooManyError(Exception):
    """Aliases of aliases."""


class Reader:
    """Reads a node's value as yaml-rust gives it: aliases replaced, the last of duplicate keys, text keys only."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._left = _MOST_VALUES

    def item(self, node: Node) -> Item:
        """The value.

        Raises:
            TooManyError: aliases multiply to more values than any file has.
        """
        self._left -= 1
        if self._left < 0:
            raise TooManyError
        match node:
            case AliasNode():
                return Item(self.item(node.target).value, node.line)
            case ScalarNode():
                if node.unreadable:
                    message = "The line has an infinity or not-a-number with a dot, which the daemon cannot read. Put it in quotation marks."
                    complain(self._problems, node.line, "number", message)
                return Item(node.value, node.line)
            case ListNode():
                return Item([self.item(inner) for inner in node.items], node.line)
            case MapNode():
                return Item(self._mapping(node), node.line)
        raise AssertionError(type(node))

    def _mapping(self, node: MapNode) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for key, value in _counted(node):
            if isinstance(key, ScalarNode) and isinstance(key.value, str):
                found[key.value] = Item(self.item(value).value, key.line)
        return found


def _counted(node: MapNode) -> Iterator[tuple[Node, Node]]:
    """Keys and values as the daemon pairs them: a key whose tag does not fit is passed over, and its value is the next key."""
    if not any(isinstance(key, ScalarNode) and key.bad for key, _ in node.entries):
        yield from node.entries
        return
    waiting: Node | None = None
    for inner in (each for entry in node.entries for each in entry):
        if waiting is not None:
            yield waiting, inner
            waiting = None
        elif not (isinstance(inner, ScalarNode) and inner.bad):
            waiting = inner
