"""Reads a catalogue file into plain values and still knows on which line each of them stands.

YAML is read as its 1.2 core: only `true` and `false` are booleans, numbers are decimal, `18:00` is
text, a key may not come twice, and anchors and tags are refused (a small file of aliases can grow
without bound). A document that begins with `{` is JSON, which is read much faster.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml

Path = Sequence[str | int]

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}")
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}
_DIGITS: Final = 19  # no number of a catalogue is longer; Python reads long ones slowly
_DEPTH: Final = 32  # of a catalogue it is 7; the C parser's own recursion has no guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a catalogue file."""

    name: str
    line: int | None  # from 1; None when it cannot be told
    field: str
    pointer: str  # the same place as a JSON pointer
    rule: str

    def __str__(self) -> str:
        where = self.name if self.line is None else f"{self.name}:{self.line}"
        return f"{where}: {self.field}: {self.rule}" if self.field else f"{where}: {self.rule}"


class Unreadable(Exception):
    """The bytes are no document; `problem` says where they stop being one."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class _Node:
    """A value and its line; a mapping's children stand under names, each where its name stands."""

    line: int
    value: Any = None  # of a scalar
    items: "list[_Node] | None" = None
    fields: "dict[str, _Node] | None" = None

    def plain(self) -> Any:
        if self.items is not None:
            return [item.plain() for item in self.items]
        if self.fields is not None:
            return {name: child.plain() for name, child in self.fields.items()}
        return self.value

    def child(self, step: str | int) -> "_Node | None":
        if self.fields is not None:
            return self.fields.get(str(step))
        if self.items is not None and isinstance(step, int) and step < len(self.items):
            return self.items[step]
        return None


class Document:
    """A file's value, and the line of each place in it."""

    def __init__(self, value: Any, *, name: str, text: str, root: _Node | None) -> None:
        self.value = value
        self.name = name
        self._text = text
        self._root = root

    def problem(self, path: Path, rule: str) -> Problem:
        """Return what is wrong at `path`; a place that is missing has its parent's line."""
        return Problem(
            name=self.name,
            line=self._line_of(path),
            field=field_of(path),
            pointer="".join("/" + str(s).replace("~", "~0").replace("/", "~1") for s in path),
            rule=rule,
        )

    def _line_of(self, path: Path) -> int | None:
        if self._root is None:
            # JSON is YAML but for tabs between tokens; reading it again is only worth it now.
            try:
                self._root = _tree(self._text.replace("\t", " "), name=self.name)
            except (yaml.YAMLError, Unreadable):
                return None
        node = self._root
        for step in path:
            child = node.child(step)
            if child is None:
                break
            node = child
        return node.line


def field_of(path: Path) -> str:
    """Return a place for people.

    >>> field_of(("suppliers", 0, "agreements", 2, "moq"))
    'suppliers[0].agreements[2].moq'
    """
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def read(content: bytes, *, name: str) -> Document:
    """Return the document in a file.

    Raises:
        Unreadable: it is neither JSON nor YAML as described above.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(name, line, "the file is not UTF-8") from None
    try:
        if text.lstrip().startswith("{"):
            value = json.loads(
                text, object_pairs_hook=_object, parse_constant=_no_number, parse_int=_integer
            )
            return Document(value, name=name, text=text, root=None)
        root = _tree(text, name=name)
        return Document(root.plain(), name=name, text=text, root=root)
    except json.JSONDecodeError as error:
        raise _unreadable(name, error.lineno, f"not JSON: {error.msg}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_no = None if mark is None else mark.line + 1
        raise _unreadable(name, line_no, f"not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _unreadable(name, None, str(error)) from None
    except RecursionError:
        raise _unreadable(name, None, "nested too deeply") from None


def _unreadable(name: str, line: int | None, rule: str) -> Unreadable:
    return Unreadable(Problem(name=name, line=line, field="", pointer="", rule=rule))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} comes twice in one object")
    return found


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS:
        raise ValueError(f"{digits[:_DIGITS]}... is too large a number")
    return int(digits)


def _tree(text: str, *, name: str) -> _Node:
    """Build the tree from the parser's events, without recursion."""
    builder = _Builder(name)
    loader = yaml.CSafeLoader(text)
    try:
        while (event := loader.get_event()) is not None:
            builder.take(event)
    finally:
        loader.dispose()
    return builder.root


class _Builder:
    """Takes events in and hangs the nodes where they belong."""

    def __init__(self, name: str) -> None:
        self.root = _Node(1)
        self._name = name
        self._open: list[_Node] = []
        self._keys: list[tuple[str, int] | None] = []  # of open nodes: the name last read
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(event, _Node(_line(event), items=[]))
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(event, _Node(_line(event), fields={}))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, "anchors and aliases are not taken; write it out")
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "a file holds one document")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if event.tag is not None:
            self._refuse(event, f"the tag {event.tag} is not taken")
        if self._wants_key():
            name = str(event.value)
            if name in (self._open[-1].fields or {}):
                self._refuse(event, f"the field {name!r} comes twice")
            self._keys[-1] = (name, _line(event))
            return
        plain = event.implicit[0]
        value = _plain(str(event.value)) if plain else str(event.value)
        self._hang(_Node(_line(event), value=value))

    def _begin(self, event: yaml.CollectionStartEvent, node: _Node) -> None:
        if event.tag is not None:
            self._refuse(event, f"the tag {event.tag} is not taken")
        if len(self._open) >= _DEPTH:
            self._refuse(event, "nested too deeply")
        if self._wants_key():
            self._refuse(event, "a field's name is text")
        self._hang(node)
        self._open.append(node)
        self._keys.append(None)

    def _wants_key(self) -> bool:
        return bool(self._open) and self._open[-1].fields is not None and self._keys[-1] is None

    def _hang(self, node: _Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if parent.items is not None:
            parent.items.append(node)
        key = self._keys[-1]
        if parent.fields is not None and key is not None:
            name, node.line = key
            parent.fields[name] = node
            self._keys[-1] = None

    def _refuse(self, event: yaml.Event, rule: str) -> NoReturn:
        raise _unreadable(self._name, _line(event), rule)


def _line(event: yaml.Event) -> int:
    return 1 if event.start_mark is None else event.start_mark.line + 1


def _plain(value: str) -> Any:
    word = value.lower()
    if word in _WORDS:
        return _WORDS[word]
    if _INTEGER.fullmatch(value):
        return int(value)
    if _FLOAT.fullmatch(value):
        return float(value)
    return value
