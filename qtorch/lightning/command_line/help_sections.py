"""``--help`` of a command with hundreds of options: those that a run needs first; the others by section, or all."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Any, NoReturn, Optional

from pytorch_lightning.cli import LightningArgumentParser

from qtorch.errors import BadConfiguration
from qtorch.lightning.command_line.boolean_options import with_values
from qtorch.lightning.command_line.option_errors import in_a_line

__all__ = ["SectionedParser", "help_of_section"]

#: What a run needs first, beside the fields that say so of themselves; see :meth:`SectionedParser.show_first`. Of
#: ``model`` and ``data`` a recipe's own are few, and all are shown.
_FIRST = frozenset({
    "test", "config", "seed_everything", "threads", "resume", "ckpt_path", "out", "name",
    "trainer.max_epochs", "trainer.accelerator", "qat.start",
})  # fmt: skip
_WHOLE = ("model", "data")
#: Columns of the short page, and of the names in it.
_WIDE, _NAMES = 100, 34
_ROLE = re.compile(r":\w+:`~?([\w.]+)`")
#: What asks for a section, and the name of all of them.
_ASKING = re.compile(r"--help\.(\w+)")
_ALL = "all"

_section: ContextVar[str] = ContextVar("section", default="")


def help_of_section(arguments: Sequence[str] | None) -> tuple[str, list[str]]:
    """The section whose help is asked for, empty if none is; and the arguments with plain ``--help`` in its place.

    Example:
        >>> help_of_section(["fit", "--help.qat"])
        ('qat', ['fit', '--help'])

    Args:
        arguments: of the command line; the process's own if ``None``.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    asked = [match[1] for word in words if (match := _ASKING.fullmatch(word))]
    return (asked[0] if asked else ""), ["--help" if _ASKING.fullmatch(word) else word for word in words]


class SectionedParser(LightningArgumentParser):
    """Shows the options that come first, or those of the section that :meth:`section_help` was asked for.

    A boolean option without a value is true.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # An option that is named in part would be another one when a longer name comes to begin like it.
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self._first = _FIRST

    def show_first(self, kind: type, group: str) -> None:
        """Show those fields of a dataclass in the short page whose metadata say that they come first.

        Args:
            kind: a dataclass whose fields are options here; ``field(metadata={"first": True})``.
            group: the name that they stand under.
        """
        self._first |= {f"{group}.{each.name}" for each in fields(kind) if each.metadata.get("first")}

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:  # type: ignore[override]
        """See :func:`~qtorch.lightning.command_line.boolean_options.with_values`."""
        section, plain = help_of_section(args)
        if section:
            self.section_help(section, plain)
        words = _with_underscores(plain)
        booleans = {
            option
            for action in self._actions
            if getattr(action, "_typehint", None) in (bool, bool | None, Optional[bool])  # noqa: UP045
            for option in action.option_strings
        }
        return super().parse_args(with_values(words, booleans), *others, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say it on stderr in a line, without hundreds of options before it, and leave.

        Raises:
            SystemExit: with 2.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        asked = getattr(ex, "subcommand_parser", None) or self
        chosen = (each.choices.values() for each in self._actions if isinstance(each.choices, Mapping))
        parsers = [self, asked, *(each for parsers in chosen for each in parsers)]
        options = {option for each in parsers for action in each._actions for option in action.option_strings}
        print(f"error: {in_a_line(message, options)}", file=sys.stderr)
        self.exit(2)

    def section_help(self, section: str, arguments: Sequence[str]) -> None:
        """Print the help of one section, and leave.

        Raises:
            SystemExit: always.
        """
        token = _section.set(section)
        try:
            self.parse_args(list(arguments))
        finally:
            _section.reset(token)

    def format_help(self, *arguments: Any) -> str:
        """The text; the options that it leaves out are still taken."""
        section, sections = _section.get(), Counter(_section_of(each) for each in self._shown())
        if section == _ALL or len(sections) < 2:
            return str(super().format_help(*arguments))
        if section and section not in sections:
            raise BadConfiguration(
                where="--help",
                expected=f"one of the sections {', '.join(sorted(sections))}, or {_ALL}",
                got=section,
                remedy="--help alone lists them",
            )
        if section:
            with self._narrowed(section):
                return str(super().format_help(*arguments))
        first = [each for each in self._shown() if self._comes_first(each) and _name(each) not in self._of_classes()]
        counted = _in_columns([f"--help.{name} {count} options" for name, count in sorted(sections.items())])
        places = [str(each.metavar or each.dest.upper()) for each in self._actions if not each.option_strings]
        usage = " ".join(["usage:", self.prog.replace(" [options]", ""), *places, "[options]"])
        about = [*textwrap.wrap(self.description, _WIDE), ""] if self.description else []
        more = ["", f"more, by section; --help.{_ALL}: all of them", *counted, ""]
        if self.epilog:
            more += [self.epilog.replace("%(prog)s", self.prog.replace(" [options]", "")), ""]
        return "\n".join([usage, "", *about, *map(_line, first), *more])

    def _shown(self) -> Iterator[Any]:
        return (each for each in self._actions if each.help != argparse.SUPPRESS and each.option_strings)

    def _comes_first(self, action: Any) -> bool:
        return _name(action) in self._first or _section_of(action) in _WHOLE

    def _of_classes(self) -> set[str]:
        """Options about a class: its help, and a file for all of its options where those are known."""
        names = {_name(each) for each in self._shown()}
        about = {f"{group}.help" for group in _WHOLE}
        return about | {group for group in _WHOLE if {each for each in names if each.startswith(f"{group}.")} - about}

    @contextmanager
    def _narrowed(self, section: str) -> Iterator[None]:
        """Without the options of other sections, and with the sections' names as headings."""
        before = [(each, each.help) for each in self._actions]
        groups = [(each, each.title, each.description) for each in self._action_groups]
        try:
            for action in self._shown():
                if _section_of(action) != section:
                    action.help = argparse.SUPPRESS
            for group in self._action_groups:
                names = {_section_of(each) for each in group._group_actions} - {"general"}
                if len(names) == 1:
                    group.title, group.description = names.pop(), None
            yield
        finally:
            for action, said in before:
                action.help = said
            for each, title, description in groups:
                each.title, each.description = title, description


def _with_underscores(words: Sequence[str]) -> list[str]:
    """The words, with underscores for hyphens in the names of options."""
    parts = ((word, *word.partition("=")) for word in words)
    return [
        f"--{name[2:].replace('-', '_')}{equals}{value}" if word.startswith("--") else word
        for word, name, equals, value in parts
    ]


def _section_of(action: Any) -> str:
    """The first part of an option's name, if it has others: ``--trainer.devices`` is of ``trainer``."""
    if not action.option_strings:
        return "general"
    first, *rest = _name(action).split(".")
    return first if rest or first in ("trainer", "qat", "export", *_WHOLE, "optimizer", "lr_scheduler") else "general"


def _name(action: Any) -> str:
    return str(max(action.option_strings, key=len)).lstrip("-")


def _line(action: Any) -> str:
    """An option in one line: as much of its help as fits."""
    name = f"--{_name(action)}"
    said = _ROLE.sub(lambda role: role[1].rpartition(".")[2], str(action.help)).replace("``", "").replace("%%", "%")
    room = _WIDE - max(_NAMES, len(name) + 4)
    return f"  {name:<{_NAMES - 2}}  {textwrap.shorten(said, room - 2, placeholder=' ...')}"


def _in_columns(words: Sequence[str]) -> list[str]:
    """Lines of them, as many beside each other as there is room for."""
    width = max(map(len, words)) + 2
    each = max(1, (_WIDE - 2) // width)
    lines = (words[start : start + each] for start in range(0, len(words), each))
    return [f"  {''.join(f'{word:<{width}}' for word in line)}".rstrip() for line in lines]
