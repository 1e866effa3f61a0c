"""What is wrong with an option, in a line, and what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

__all__ = ["in_a_line"]

_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':\s*([^\n]*)")
_BOOLEAN = re.compile(r"Expected a <class 'str'>\. Got value: (True|False)")
_UNKNOWN = re.compile(r"[Uu]nrecognized arguments?: (--?[^\s=]+)")


def in_a_line(message: str, options: Collection[str]) -> str:
    """The reader's message, with what a person needs of it first.

    Example:
        >>> in_a_line("Unrecognized arguments: --trainer.max_epchs 3", ["--trainer.max_epochs", "--out"])
        'there is no option --trainer.max_epchs; did you mean --trainer.max_epochs?'

    Args:
        message: of the reader of options.
        options: that there are.
    """
    key = keyed[1] if (keyed := _KEY.search(message)) else ""
    if named := _CLASS.search(message):
        return f"--{key}: there is no class {named[1]} that fits: {named[2].strip()}"
    if _BOOLEAN.search(message):
        return (
            f"--{key}: expected words, got true or false, as which YAML reads yes, no, on and off without quotes. "
            f'Remedy: put each word in quotes, --{key} \'["yes", "no"]\''
        )
    if unknown := _UNKNOWN.search(message):
        alike = difflib.get_close_matches(unknown[1], list(options), 1, 0.7)
        meant = f"; did you mean {alike[0]}?" if alike else "; --help lists those that there are"
        return f"there is no option {unknown[1]}{meant}"
    return message
