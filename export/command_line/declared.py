"""The options that a frozen dataclass declares: a field is an option, and its type and marks say how it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["FOLDER", "POSITIONAL", "POSITIVE", "Option", "options_of", "with_listed"]

#: Beside a field's type in ``Annotated``: a number above zero, a value that stands without a name, a folder.
POSITIVE, POSITIONAL, FOLDER = "positive", "positional", "folder"


@dataclass(frozen=True)
class Option:
    """What is known of an option before a value is given.

    Attributes:
        name: with the names of the dataclasses around it, as in ``export.c``.
        kind: type of a value.
        choices: the values that there are; empty for any.
        listed: values that help names, beside which there may be others: what the dataclass refuses is its own.
        many: takes several words.
        marks: of :data:`POSITIVE`, :data:`POSITIONAL` and :data:`FOLDER`.
        required: has no default.
    """

    name: str
    kind: type
    choices: tuple[Any, ...]
    listed: tuple[str, ...]
    many: bool
    marks: frozenset[str]
    required: bool

    @property
    def positional(self) -> bool:
        """Whether its value stands without a name."""
        return POSITIONAL in self.marks

    @property
    def written(self) -> str:
        """As on a command line."""
        return self.name.upper() if self.positional else f"--{self.name}"


def options_of(kind: type, prefix: str = "") -> Iterator[Option]:
    """The options that a dataclass declares, in its order.

    Args:
        kind: a dataclass.
        prefix: of their names.
    """
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        if is_dataclass(hints[each.name]):
            yield from options_of(hints[each.name], f"{prefix}{each.name}.")
        else:
            yield _option(each, hints[each.name], prefix)


def _option(declared: Field[Any], hint: Any, prefix: str) -> Option:
    hint = _without_none(hint)
    beside = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    hint = _without_none(get_args(hint)[0]) if beside else hint
    many = get_origin(hint) is tuple
    hint = get_args(hint)[0] if many else hint
    literal = get_args(hint) if get_origin(hint) is Literal else ()
    return Option(
        prefix + declared.name,
        type(literal[0]) if literal else hint,
        literal,
        tuple(map(str, declared.metadata.get("listed", ()))),
        many,
        frozenset(beside),
        declared.default is MISSING and declared.default_factory is MISSING,
    )


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    return hint


def with_listed(parser: Any, kind: type, group: str) -> None:
    """Say in the help of another reader's parser what values there are, where a type does not.

    Args:
        parser: one that has the options of the dataclass already.
        kind: the dataclass.
        group: the name that they stand under.
    """
    for option in options_of(kind, f"{group}."):
        for action in parser._actions:
            if option.listed and action.dest == option.name:
                action.help = f"{action.help} {', '.join(option.listed)}."
