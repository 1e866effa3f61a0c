"""What is wrong with an option, in a line, and what was meant."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Collection

__all__ = ["in_a_line", "nearest", "no_choice", "no_option"]

#: How alike a word and what was meant are, at least; of choices, which are few, less will do.
_ALIKE, _ALIKE_CHOICES = 0.7, 0.5
_LISTED = "--help lists those that there are"
_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':\s*([^\n]*)")
_BOOLEAN = re.compile(r"Expected a <class 'str'>\. Got value: (True|False)")
_NO_VALUE = re.compile(r"argument (--[\w.]+): expected one argument")
_CHOICE = re.compile(r"Expected a typing\.Literal\[([^\]]*)\]\. Got value: (.*)")
_KEY_OF_GROUP = re.compile(r"does not accept option '([\w.]+)'")
_PLACE = re.compile(r"[Uu]nrecognized arguments?: ([^-]\S*)")
_REQUIRED = re.compile(r"arguments are required: ([\w.]+)")
_TYPED = re.compile(r"Subtypes: \[((?:<class '[\w.]+'>(?:, )?)+)\].*Given value: ([^\n]*)", re.DOTALL)
_ONE_TYPE = re.compile(r"Expected a <class '(\w+)'>\. Got value: ([^\n]*)")
_NO_FILE = re.compile(r"(?:File|Path) does not exist: ('[^']*')")
_ARGUMENT = re.compile(r"Option '([\w.]+)' is not accepted")
#: What the reader of options puts before the name of a subcommand's option.
_GROUPING = ("fit", "validate", "test", "predict")
_KINDS = {"int": "a whole number", "float": "a number", "str": "words", "bool": "true or false", "NoneType": "null"}
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
    if (named := _CLASS.search(message)) and (argument := _ARGUMENT.search(named[2])):
        return f"--{key}: {named[1]} has no option {argument[1]}{_meant(argument[1], _arguments(named[1]))}"
    if named:
        return f"--{key}: there is no class {named[1]} that fits: {named[2].strip()}"
    if _BOOLEAN.search(message):
        return (
            f"--{key}: expected words, got true or false, as which YAML reads yes, no, on and off without quotes. "
            f'Remedy: put each word in quotes, --{key} \'["yes", "no"]\''
        )
    if absent := _NO_FILE.search(message):
        return f"--{key}: expected the name of a file, got {absent[1]}, which is not there. Remedy: check the path"
    if unknown := _UNKNOWN.search(message):
        return no_option(unknown[1], options)
    if missing := _NO_VALUE.search(message):
        return f"{missing[1]}: expected a value, got nothing"
    if chosen := _CHOICE.search(message):
        words = [word.strip("'\" ") for word in chosen[1].split(",")]
        return no_choice(f"--{key}", chosen[2].strip(), words)
    if strayed := _KEY_OF_GROUP.search(message):
        return _no_key(strayed[1], options)
    if strayed := _PLACE.search(message):
        return f"there is no place for {strayed[1]!r}; --help says what is taken"
    if required := _REQUIRED.search(message):
        name = required[1].partition(".")[2] if required[1].partition(".")[0] in _GROUPING else required[1]
        return f"--{name}: expected a value, got nothing. Remedy: give it, or name a file that does with --config"
    if typed := _TYPED.search(message):
        kinds = [_KINDS.get(kind, kind) for kind in re.findall(r"<class '([\w.]+)'>", typed[1])]
        return f"--{key}: expected {' or '.join(kinds)}, got {typed[2].strip()!r}"
    if typed := _ONE_TYPE.search(message):
        return f"--{key}: expected {_KINDS.get(typed[1], typed[1])}, got {typed[2].strip()!r}"
    return " ".join(_KEY.sub(r"--\1", message).split())


def nearest(word: str, names: Collection[str], alike: float = _ALIKE) -> str:
    """The name that was meant, empty if none is like the word.

    >>> nearest("--bord", ["--board", "--mhz"])
    '--board'
    """
    whole = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), whole, 1, alike)
    # Cut short, a name is not alike by as much as it should be.
    begun = [name for low, name in whole.items() if low.startswith(word.lower())] if len(word) > 2 else []
    return whole[close[0]] if close else begun[0] if begun else ""


def no_option(word: str, options: Collection[str]) -> str:
    """A refusal of an option that there is not."""
    meant = nearest(word.replace("-", "_").replace("__", "--", 1), options)
    if not meant:
        # Somebody may have left its group out.
        tails = {each.rpartition(".")[2]: each for each in options if "." in each}
        meant = tails.get(word.lstrip("-"), "")
    return f"there is no option {word}" + (
        f"; did you mean {meant}?" if meant else "; --help lists those that there are"
    )


def no_choice(option: str, word: str, choices: Collection[str]) -> str:
    """A refusal of a value that is none of those that there are."""
    return f"{option}: expected one of {', '.join(choices)}, got {word!r}{_meant(word, choices, _ALIKE_CHOICES)}"


def _meant(word: str, names: Collection[str], alike: float = _ALIKE) -> str:
    return f"; did you mean {name}?" if (name := nearest(word, names, alike)) else ""


def _arguments(path: str) -> list[str]:
    """Names that a class takes; none where it can't be told."""
    module, _, name = path.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    try:
        return [] if kind is None else list(inspect.signature(kind).parameters)
    except (TypeError, ValueError):
        return []


def _no_key(key: str, options: Collection[str]) -> str:
    """A refusal of a name in a file, or of one behind ``init_args``."""
    meant = nearest(f"--{key}", options).removeprefix("--")
    return f"there is no option {key}" + (
        f"; did you mean {meant}?" if meant else "; --help lists those that there are"
    )
