"""A config.yaml under edit: changes are made in its text, and only where they have to be.

Every operation looks at the text as it is then. None re-writes what it does not change: comments, order, quotation
marks, line ends and blank lines are the owner's.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from edgeherd.config import removal, scrubbing, yaml_tree
from edgeherd.config.daemon_yaml import problem_of_duplicates
from edgeherd.config.values import UneditableError, refuse
from edgeherd.config.yaml_scalars import resolve
from edgeherd.config.yaml_tree import AliasNode, ListNode, MapNode, Node, ScalarNode

Leaf = str | bool
Tree = Mapping[str, "Leaf | Tree"]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_INDENT = 2


def quoted(value: Leaf, style: str = '"') -> str:
    """A value as the file says it: bare `true` and `false`, text in quotation marks (single ones where they were)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def block(tree: Tree, indent: int = 0) -> list[str]:
    """The lines of a block mapping."""
    lines = []
    for key, value in tree.items():
        name = key if _PLAIN_KEY.fullmatch(key) and resolve(key, plain=True) == key else quoted(key)
        if isinstance(value, Mapping):
            lines += [f"{' ' * indent}{name}:", *block(value, indent + _INDENT)]
        else:
            lines.append(f"{' ' * indent}{name}: {quoted(value)}")
    return lines


class Draft:
    """A text, parsed anew after each change."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.eol = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
        self._root: MapNode | None = None
        self._waiting: list[tuple[int, int, str]] | None = None

    @property
    def root(self) -> MapNode:
        """The whole file.

        Raises:
            UneditableError: the text is nothing that can be edited safely.
        """
        if self._root is None:
            self._root = _editable_root(self.text)
        return self._root

    def splice(self, start: int, end: int, new: str) -> None:
        """Replace the characters from `start` up to `end`."""
        if self._waiting is not None:
            self._waiting.append((start, end, new))
        elif self.text[start:end] != new:
            self.text = self.text[:start] + new + self.text[end:]
            self._root = None

    def put(self, path: Sequence[str], value: Leaf) -> None:
        """Make the file say `value` at `path`: see `put_all`."""
        self.put_all(nested(path, value))

    def put_all(self, tree: Tree) -> None:
        """Make the file say all of this: replaced where it is, added where it is not, untouched if right.

        The file is read once for all of it: what is put at one place moves no other before all is put.
        """
        self._waiting = []
        try:
            self._put(self.root, tree, ())
        finally:
            waiting, self._waiting = self._waiting, None
        # At the same place what came first stands first: what is added to a mapping comes before what is added to the outer one.
        text = self.text
        for _, (start, end, new) in sorted(enumerate(waiting), key=lambda each: (each[1][0], each[0]), reverse=True):
            text = text[:start] + new + text[end:]
        if text != self.text:
            self.text, self._root = text, None

    def _put(self, parent: MapNode, tree: Tree, above: tuple[str, ...]) -> None:
        missing: dict[str, Leaf | Tree] = {}
        for name, wanted in tree.items():
            found, path = parent.named(name), (*above, name)
            if not found:
                missing[name] = wanted
                continue
            key, value = found[-1]
            _refuse_references(value, ".".join(path))
            if not isinstance(wanted, Mapping):
                self.replace(value, wanted)
            elif _is_empty(value):
                self._fill(key, value, wanted, inline=parent.flow)
            elif isinstance(value, MapNode):
                self._put(value, wanted, path)
            else:
                raise refuse(value.line, "type", f"{'.'.join(path)} must be a mapping. Fix it by hand.")
        if missing:
            self._add(parent, missing)

    def remove(self, path: Sequence[str]) -> None:
        """Make the file say nothing at `path`. A mapping whose last entry goes stays as `{}`; comments stay."""
        node: Node = self.root
        found: list[tuple[MapNode, Node, Node]] = []
        for name in path:
            node = node.target if isinstance(node, AliasNode) else node
            entries = node.named(name) if isinstance(node, MapNode) else []
            if not isinstance(node, MapNode) or not entries:
                return
            found.append((node, *entries[-1]))
            node = entries[-1][1]
        for depth, (_, key, value) in enumerate(found, 1):
            _refuse_references(key, ".".join(path[:depth]))
            _refuse_references(value, ".".join(path[:depth]))
        parent, key, value = found[-1]
        if not isinstance(value, ScalarNode):
            raise refuse(value.line, "type", "A single value was expected on this line. Fix it by hand.")
        if parent.flow:
            if "\n" in self.text[key.start : value.start]:
                raise _laid_out_oddly(key)
            self.splice(*removal.of_inline(self.text, key.start, max(key.end, self.last(value))))
        elif len(parent.entries) > 1:
            self._remove_lines(key, value)
        else:
            owner = found[-2][1]
            colon = re.compile(r"[ \t]*:").match(self.text, owner.end)
            if colon is None:
                raise _laid_out_oddly(owner)
            self._remove_lines(key, value)
            self.splice(colon.end(), colon.end(), " {}")

    def _remove_lines(self, key: Node, value: ScalarNode) -> None:
        """An entry of a block mapping goes; a comment behind it, or between key and value, gets a line of its own."""
        start, last = self.line_start(key.start), max(key.end, self.last(value))
        if self.text[start : key.start].strip():
            raise _laid_out_oddly(key)
        end = self.line_end(last)
        behind = value.start if value.style in {"|", ">"} else last
        around = (self.text[key.end : value.start], self.text[behind : self.line_end(behind)])
        comments = [comment for text in around for comment in re.findall(r"#[^\r\n]*", text)]
        self.splice(*removal.of_lines(self.text, start, end, comments))

    def replace(self, node: Node, value: Leaf) -> None:
        """Give another value to a node, in its own quotation marks."""
        if not isinstance(node, ScalarNode):
            span = self.text[node.start : node.end]
            if _is_empty(node) and "\n" not in span:
                self.splice(node.start, node.end, quoted(value))
                return
            raise refuse(node.line, "type", "A single value was expected on this line. Fix it by hand.")
        if node.value == value and type(node.value) is type(value):
            return
        if not node.text and not node.style:
            self.splice(node.start, node.end, " " + quoted(value))
        elif node.style in {"|", ">"}:
            remark = re.search(r"[ \t]+#.*|$", self.text[node.start : self.line_end(node.start)])
            self.splice(node.start, self.last(node), quoted(value) + (remark[0] if remark else ""))
        else:
            self.splice(node.start, node.end, quoted(value, node.style))

    def last(self, node: Node) -> int:
        """Where the node's own text ends, without white space behind it, unless that is a part of its value."""
        if self.keeps_blanks(node):
            return max(node.start, node.end - 1)
        return node.start + len(self.text[node.start : node.end].rstrip())

    def keeps_blanks(self, node: Node) -> bool:
        """Whether blank lines behind the node are a part of its value: a block scalar with a '+'."""
        if not isinstance(node, ScalarNode) or node.style not in {"|", ">"}:
            return False
        return "+" in self.text[node.start : self.line_end(node.start)].partition("#")[0]

    def _add(self, parent: MapNode, tree: Tree) -> None:
        """New entries at the end of a mapping, in its own style."""
        if parent.flow and parent.entries:
            place = self._last_of(parent)
            lead = " " if self.text[place - 1] == ":" else ""  # to many a parser `A:,` is a key that ends in a colon
            self.splice(place, place, f"{lead}, {', '.join(_inline(tree))}")
            return
        column = parent.entries[0][0].column if parent.entries else parent.column
        self.insert_below(self._last_of(parent), block(tree, column))

    def _last_of(self, parent: MapNode) -> int:
        if not parent.entries:
            return parent.end
        key, value = parent.entries[-1]
        return max(self.last(value), key.end)

    def _fill(self, key: Node, empty: Node, tree: Tree, *, inline: bool) -> None:
        """Children for a key that has none: `{}` and null are replaced, never appended to."""
        if inline:
            lead = "" if empty.end > empty.start else " "
            self.splice(empty.start, empty.end, f"{lead}{{{', '.join(_inline(tree))}}}")
            return
        self.insert_below(max(key.end, self.last(empty)), block(tree, key.column + _INDENT))
        if empty.end > empty.start:
            self.splice(key.end, empty.end, self.text[key.end : empty.start].rstrip(" "))

    def insert_below(self, place: int, lines: Sequence[str]) -> int:
        """Put lines below the line of a character. Returns where the first of them begins."""
        newline = self.text.find("\n", place)
        if newline < 0 and self.text.endswith("\n"):
            newline = len(self.text) - 1
        if newline < 0:
            start = len(self.text)
            lead = self.eol if self.text else ""
            self.splice(start, start, lead + self.eol.join(lines))
            return start + len(lead)
        self.splice(newline + 1, newline + 1, "".join(line + self.eol for line in lines))
        return newline + 1

    def sweep(self, keys: Collection[str], *, kept: str = "") -> None:
        """Take keys out of all comments. `kept` is a value of the file that may hold one of them."""
        cores = [core for core in (key.rstrip("=") for key in keys) if core]
        if all(self.text.count(core) <= kept.count(core) for core in cores):
            return
        spans = sorted((node.start, node.end) for node in yaml_tree.all_scalars(self.root))
        self.splice(0, len(self.text), scrubbing.swept(self.text, keys, spans))

    def line_start(self, place: int) -> int:
        """Where the line of a character begins."""
        return self.text.rfind("\n", 0, place) + 1

    def line_end(self, place: int) -> int:
        """Where the line of a character ends, before its line break."""
        found = re.compile(r"\r?\n|\Z").search(self.text, place)
        return found.start() if found else len(self.text)


def nested(path: Sequence[str], value: Leaf) -> Tree:
    """A tree with one leaf."""
    head, *rest = path
    return {head: nested(rest, value) if rest else value}


def _inline(tree: Tree) -> list[str]:
    return [
        f"{quoted(key)}: {'{' + ', '.join(_inline(value)) + '}' if isinstance(value, Mapping) else quoted(value)}"
        for key, value in tree.items()
    ]


def _is_empty(node: Node) -> bool:
    return (isinstance(node, ScalarNode) and node.value is None) or (isinstance(node, MapNode) and not node.entries)


def _laid_out_oddly(node: Node) -> UneditableError:
    return refuse(node.line, "layout", "The line is laid out in a way that nothing can be removed. Fix it by hand.")


def _refuse_references(node: Node, path: str) -> None:
    if isinstance(node, AliasNode) or node.anchored:
        message = f"{path} has an anchor, an alias or a tag. Write its value out."
        raise refuse(node.line, "reference", message)


def refuse_references(node: Node, path: str) -> None:
    """Refuse anchors, aliases and tags anywhere below a node that is ours.

    Raises:
        UneditableError: there is one.
    """
    _refuse_references(node, path)
    if isinstance(node, MapNode):
        for key, value in node.entries:
            refuse_references(value, f"{path}.{key.text if isinstance(key, ScalarNode) else '?'}")
    elif isinstance(node, ListNode):
        for item in node.items:
            refuse_references(item, path)


def _editable_root(text: str) -> MapNode:
    documents = yaml_tree.documents(text)
    if len(documents) > 1:
        raise refuse(documents[1].line, "documents", "The file has more than one YAML document. Keep one.")
    root = documents[0] if documents else None
    if root is None or (isinstance(root, ScalarNode) and root.value is None):
        return MapNode(start=len(text), end=len(text), line=1, column=0, entries=(), flow=False)
    if not isinstance(root, MapNode) or root.flow:
        raise refuse(root.line, "layout", "The file must be a mapping, one key a line. Fix it by hand.")
    if root.column != 0:
        raise refuse(root.line, "leading-space", "The sections must begin in the first column. Remove the spaces.")
    bad = next((node for node in yaml_tree.all_scalars(root) if node.bad), None)
    if bad is not None:
        raise refuse(bad.line, "reference", "The line has a tag that does not fit its value. Remove the tag.")
    if duplicates := problem_of_duplicates(root):
        raise UneditableError(tuple(duplicates))
    return root
