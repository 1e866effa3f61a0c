"""Options in the words of a call: what ``--export.c`` is on a command line is ``c=True`` there."""

from __future__ import annotations

import re
from dataclasses import fields

from export.options import ExportOptions

__all__ = ["as_arguments"]

_TYPES = {each.name: each.type for each in fields(ExportOptions)}
#: An option, with the word before it, which tells setting it from naming it; no module of this package.
_OPTION = re.compile(rf"(\bby |\bset |)(?:--)?\bexport\.({'|'.join(_TYPES)})(?![.\w])")
_WITH_VALUE = re.compile(r"(?:--)?export\.(\w+) (\S+)")


def as_arguments(said: str) -> str:
    """Words about options, as whoever calls a function writes them.

    Example:
        >>> as_arguments("export it by --export.post_training, or leave export.firmware out")
        'export it by post_training=True, or leave firmware out'
        >>> as_arguments("export.target uno")
        "target='uno'"
    """
    whole = _WITH_VALUE.fullmatch(said)
    if whole and whole[1] in _TYPES:
        return f"{whole[1]}={whole[2]!r}"
    said = _OPTION.sub(lambda match: match[1] + _named(match[2], is_set=bool(match[1])), said)
    return re.sub(r"\bset (\w+): true\b", r"set \1=True", said).replace("--out", "out")


def _named(option: str, *, is_set: bool) -> str:
    return f"{option}=True" if is_set and _TYPES[option] == "bool" else option
