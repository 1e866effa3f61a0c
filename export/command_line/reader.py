"""The words of a command line to a frozen dataclass of options, by one grammar for every command.

``--name value`` and ``--name=value``; ``--group.name`` for a dataclass in a dataclass; a boolean stands alone or before
``true`` or ``false``; a tuple takes several words, and may be repeated; a mapping is YAML; underscores and hyphens in
names are the same; no name is abbreviated. What a mistake ends in is a line on stderr, and exit code 2.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_origin, get_type_hints

import yaml  # type: ignore[import-untyped]

from export.command_line.declared import FOLDER, POSITIONAL, POSITIVE, Option, options_of
from export.command_line.help_page import help_page
from qtorch.errors import BadInput
from qtorch.lightning.command_line.boolean_options import TRUTHS
from qtorch.lightning.command_line.option_errors import no_choice, no_option, no_place, refusal

__all__ = ["FOLDER", "POSITIONAL", "POSITIVE", "read_options"]

Options = TypeVar("Options")

_HELP = ("-h", "--help")


def read_options(kind: type[Options], words: Sequence[str], name: str) -> Options:
    """The options of a command.

    Args:
        kind: the dataclass that declares them.
        words: behind the command's name.
        name: of the command.

    Raises:
        SystemExit: 0 after ``--help``, 2 after a line that says what is wrong.
        BadInput: of the dataclass, about values that contradict each other.
    """
    for word in words:
        if word in _HELP or word.startswith("--help."):
            print(help_page(kind, name, word.partition(".")[2]))
            raise SystemExit(0)
    return _built(kind, _values(list(options_of(kind)), words), "")


def _built(kind: type[Options], values: dict[str, Any], prefix: str) -> Options:
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        full = prefix + each.name
        if is_dataclass(hints[each.name]):
            arguments[each.name] = _built(hints[each.name], values, f"{full}.")
        elif full in values:
            arguments[each.name] = values[full]
    try:
        return kind(**arguments)
    # What a dataclass says of a field of its own, in the option's name.
    except BadInput as error:
        where = f"--{prefix}{error.where}" if prefix and error.where in hints else error.where
        raise type(error)(where=where, expected=error.expected, got=error.got, remedy=error.remedy) from error


def _values(options: Sequence[Option], words: Sequence[str]) -> dict[str, Any]:
    by_name = {each.name: each for each in options if not each.positional}
    places = [each for each in options if each.positional]
    values: dict[str, Any] = {}
    #: Words without a name, and those that a list has taken but may have to give back.
    loose: list[str] = []
    taken: dict[str, list[str]] = {}
    #: Of words that stand right behind a boolean, that one.
    behind: dict[str, Option] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not _is_name(word):
            loose.append(word)
            continue
        written, equals, value = word.partition("=")
        option = by_name.get(written.removeprefix("--").replace("-", "_")) if written.startswith("--") else None
        if option is None:
            _refuse(no_option(written, [each.written for each in by_name.values()]))
        if option.kind is bool:
            follows = not equals and bool(rest) and rest[0].lower() in TRUTHS
            if not equals and not follows and rest and not _is_name(rest[0]):
                behind[rest[0]] = option
            said = rest.pop(0) if follows else value if equals else "true"
            values[option.name] = _converted(option, said)
            continue
        if not equals:
            if not rest or _is_name(rest[0]):
                _refuse(_nothing(option))
            value = rest.pop(0)
        if option.many:
            taken.setdefault(option.name, []).append(value)
            while not equals and rest and not _is_name(rest[0]):
                taken[option.name].append(rest.pop(0))
        else:
            values[option.name] = _converted(option, value)
    _place(places, loose, taken, values, behind)
    values |= {name: tuple(_converted(by_name[name], each) for each in said) for name, said in taken.items()}
    for option in options:
        if option.required and option.name not in values:
            _refuse(_nothing(option))
    return values


def _place(
    places: Sequence[Option],
    loose: list[str],
    taken: dict[str, list[str]],
    values: dict[str, Any],
    behind: Mapping[str, Option],
) -> None:
    """Words without a name to where they belong; a list that stood before them has taken them too."""
    while len(loose) < len(places) and taken:
        longest = list(taken.values())[-1]
        if len(longest) < 2:
            break
        loose.append(longest.pop())
    if len(loose) > len(places):
        for word in loose:
            if word in behind:
                _refuse(_no_truth(behind[word], word))
        _refuse(no_place(loose[len(places)]))
    for option, word in zip(places, loose, strict=False):
        values[option.name] = _converted(option, word)


def _is_name(word: str) -> bool:
    """Whether it begins as an option does: a number below zero does not."""
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit() and word[1] != "."


def _converted(option: Option, word: str) -> Any:
    if option.kind is bool:
        if word.lower() not in TRUTHS:
            _refuse(_no_truth(option, word))
        return TRUTHS[word.lower()]
    if option.choices:
        chosen = [each for each in option.choices if str(each) == word]
        if not chosen:
            _refuse(no_choice(option.written, word, [str(each) for each in option.choices]))
        return chosen[0]
    if get_origin(option.kind) is Mapping:
        return _mapping(option, word)
    if option.kind is Path:
        if not word.strip():
            _refuse(_nothing(option))
        return Path(os.path.expanduser(word))
    try:
        value = option.kind(word)
    except ValueError:
        value = math.nan
    if option.kind in (int, float) and not (0 if POSITIVE in option.marks else -math.inf) < value < math.inf:
        _refuse(refusal(option.written, _kind(option), repr(word), _as_in(option)))
    return value


def _mapping(option: Option, word: str) -> Mapping[str, Any]:
    try:
        value = yaml.safe_load(word)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value):
        _refuse(refusal(option.written, _kind(option), repr(word), _as_in(option)))
    return value


def _nothing(option: Option) -> str:
    return refusal(option.written, _kind(option), "nothing", _as_in(option))


def _no_truth(option: Option, word: str) -> str:
    remedy = f"write {option.written} alone, or leave it out"
    return refusal(option.written, "true or false", repr(word), remedy)


def _as_in(option: Option) -> str:
    """What to do about a value that is none, or is not there."""
    if option.positional:
        return "write it behind the command, before its options"
    return f"give one, as in {option.written} {_example(option)}"


def _example(option: Option) -> str:
    if option.choices:
        return str(option.choices[0])
    if get_origin(option.kind) is Mapping:
        return """'{"features.*": {"weight_bits": 4}}'"""
    if option.kind is Path:
        return "build/mine" if FOLDER in option.marks else "FILE"
    return {int: "16", float: "0.5"}.get(option.kind, option.written.lstrip("-").upper())


def _kind(option: Option) -> str:
    """What a value is, in words."""
    if get_origin(option.kind) is Mapping:
        return "values by name, as '{name: {name: value}}'"
    if option.choices:
        return f"one of {', '.join(map(str, option.choices))}"
    if option.kind is Path:
        return "the name of a folder" if FOLDER in option.marks else "the name of a file"
    if option.kind is int:
        return f"a whole number{' of at least 1' if POSITIVE in option.marks else ''}"
    if option.kind is float:
        return f"a {'positive ' if POSITIVE in option.marks else ''}number"
    return "a value"


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
