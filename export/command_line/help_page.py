"""``--help`` of a command, from the docstring of the dataclass that declares its options."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from export.command_line.declared import FOLDER, Option, options_of
from export.command_line.invocation import program
from qtorch.errors import BadConfiguration
from qtorch.lightning.command_line.option_errors import nearest

__all__ = ["attributes", "help_page"]

#: Columns of a page, and of the names of options.
_WIDE, _NAMES = 100, 30
#: Lines that a page has room for.
_SCREEN = 40
_ATTRIBUTE = re.compile(r"^(\w+): ", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?([\w.]+)`")


def help_page(kind: type, name: str, section: str = "") -> str:
    """What a command says of itself: its options in a line or two each; those of a section at length.

    Where the page would be longer than a screen, sections show only the options that come first.

    Args:
        kind: the dataclass of its options.
        name: of the command.
        section: name of a field that is a dataclass of options; empty for all.

    Raises:
        BadConfiguration: there is no such section.
    """
    about, example, _ = _parts(kind)
    options, said = list(options_of(kind)), dict(_said(kind))
    sections = list(dict.fromkeys(each.name.partition(".")[0] for each in options if "." in each.name))
    if section:
        if section not in sections:
            raise BadConfiguration(
                where="--help",
                expected=f"one of the sections {', '.join(sections)}" if sections else "no section",
                got=section,
                remedy=f"--help.{nearest(section, sections)}" if sections else "--help alone says all",
            )
        chosen = [each for each in options if each.name.startswith(f"{section}.")]
        return "\n".join(line for each in chosen for line in _lines(each, said[each.name]))
    places = " ".join(each.written for each in options if each.positional)
    required = " ".join(f"{each.written} {_value(each)}" for each in options if each.required and not each.positional)
    usage = " ".join(filter(None, (f"usage: {program(name)}", places, required, "[options]" if len(options) else "")))
    head = [usage, "", *textwrap.wrap(about, _WIDE), *([""] if options else [])]
    examples = ["", "examples:", *(f"  {line}" for line in example.splitlines())] if example else []
    whole = [*head, *_short(options, said), *(_more(each, 0) for each in sections), *examples]
    if len(whole) <= _SCREEN or not sections:
        return "\n".join(whole)
    first = [each for each in options if each.first or "." not in each.name]
    hidden = Counter(each.name.partition(".")[0] for each in options if each not in first)
    return "\n".join([*head, *_short(first, said, _FEW), *(_more(each, hidden[each]) for each in sections), *examples])


#: Of many values, as boards are, those that a page has room for which leaves others to ``--help.SECTION``.
_FEW = 8


def _short(options: Sequence[Option], said: Mapping[str, str], most: int | None = None) -> list[str]:
    """Lines of options; of those in a section, only what comes first of their help, and ``most`` of their values."""
    texts = {name: _first_clause(text) if "." in name else text for name, text in said.items()}
    return [line for each in options for line in _lines(each, texts[each.name], most)]


def _more(section: str, hidden: int) -> str:
    others = f"{hidden} more --{section} options, and " if hidden else ""
    return f"{f'  --help.{section}':<{_NAMES}}{others}more of each"


def attributes(kind: type) -> Mapping[str, str]:
    """What the docstring of a dataclass says of each field."""
    _, _, text = _parts(kind)
    parts = _ATTRIBUTE.split(text)
    return {name: _plain(said) for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def _parts(kind: type) -> tuple[str, str, str]:
    """Description, examples and attributes."""
    sections: dict[str, str] = {"": ""}
    title = ""
    for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
        if re.fullmatch(r"[A-Z]\w+:", line):
            title = line[:-1]
            sections[title] = ""
        else:
            sections[title] += f"{line}\n"
    dedented = {name: textwrap.dedent(text).strip() for name, text in sections.items()}
    return _plain(dedented[""]), dedented.get("Example", ""), dedented.get("Attributes", "")


def _plain(text: str) -> str:
    """Without marks that are for a page of documentation."""
    without = _ROLE.sub(lambda role: role[1].rpartition(".")[2], text)
    return " ".join(without.replace("``", "").split())


def _said(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    hints: dict[str, Any] = get_type_hints(kind)
    texts = {name: text for base in reversed(kind.__mro__) for name, text in attributes(base).items()}
    for each in fields(kind):
        if is_dataclass(hints[each.name]):
            yield from _said(hints[each.name], f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, texts[each.name]


def _first_clause(text: str) -> str:
    return re.split(r"[;:]|\.(?:\s|$)", text, maxsplit=1)[0]


def _value(option: Option) -> str:
    if option.kind is bool:
        return ""
    return option.name.rpartition(".")[2].upper() if FOLDER not in option.marks else "DIR"


def _lines(option: Option, text: str, most: int | None = None) -> list[str]:
    many = " ..." if option.many else ""
    head = f"  {option.written}" if option.positional else f"  {option.written} {_value(option)}".rstrip() + many
    words = text.rstrip(".")
    if values := [*map(str, option.choices or option.listed[:most])]:
        words += f" ({', '.join([*values, *(['...'] if len(option.listed) > len(values) else [])])})"
    wrapped = textwrap.wrap(words, _WIDE - _NAMES)
    if len(head) > _NAMES - 1:
        return [head, *(" " * _NAMES + line for line in wrapped)]
    return [f"{head:<{_NAMES}}{wrapped[0]}", *(" " * _NAMES + line for line in wrapped[1:])]
