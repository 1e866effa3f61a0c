"""What is wrong with an option, in a line, and what was meant."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Collection

from qtorch.errors import BadConfiguration

__all__ = ["in_a_line", "nearest", "no_choice", "no_option", "no_place", "refusal"]

#: How alike a word and what was meant are, at least; of choices, which are few, less will do.
_ALIKE, _ALIKE_CHOICES = 0.7, 0.5
_LISTED = "look it up in --help, which lists all that there are"
_NAME_A_CLASS = "name one by its module, which is looked for in the working folder too, as in my_package.MyModule"
_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':\s*([^\n]*)")
_BOOLEAN = re.compile(r"Expected a <class 'str'>\. Got value: (True|False)")
_NO_VALUE = re.compile(r"argument (--[\w.]+): expected one argument")
_CHOICE = re.compile(r"Expected a typing\.Literal\[([^\]]*)\]\. Got value: (.*)")
_KEY_OF_GROUP = re.compile(r"does not accept option '([\w.]+)'")
_PLACE = re.compile(r"[Uu]nrecognized arguments?: ([^-]\S*)")
_REQUIRED = re.compile(r"arguments are required: ([\w.]+)")
_TYPED = re.compile(r"Subtypes: \[([^\n]*)\]\n.*?Given value: ([^\n]*)", re.DOTALL)
_TYPES = re.compile(r"(?:<class ')?((?:list\[)?[\w.]+)'?>?\]?")
_ONE_TYPE = re.compile(r"Expected a <class '([\w.]+)'>\. Got value: ([^\n]*)")
_NO_SUBCLASS = re.compile(r"Import path does not correspond to a subclass of (\w+)")
_GIVEN = re.compile(r"Given value: ([^\n]*)")
_NO_YAML = re.compile(r"Problems parsing config: (.*)", re.DOTALL)
_LACKING = re.compile(r"No module named '([\w.]+)'")
_LINE = re.compile(r'in "<[^>]*>", line (\d+), column (\d+)')
_NO_FILE = re.compile(r"(?:File|Path) does not exist: ('[^']*')")
_ARGUMENT = re.compile(r"Option '([\w.]+)' is not accepted")
#: What the reader of options puts before the name of a subcommand's option.
_GROUPING = ("fit", "validate", "test", "predict")
_KINDS = {
    "int": "a whole number", "float": "a number", "str": "words", "bool": "true or false", "NoneType": "null",
    "collections.abc.Mapping": "values by name, as '{name: value}'", "dict": "values by name, as '{name: value}'",
}  # fmt: skip
#: Types that nobody writes on a command line.
_SELDOM = ("torch.Tensor",)
_UNKNOWN = re.compile(r"[Uu]nrecognized arguments?: (--?[^\s=]+)")


def refusal(where: str, expected: str, got: str, remedy: str) -> str:
    """What every refusal of an option says, in the words of :class:`qtorch.errors.BadInput`."""
    return str(BadConfiguration(where=where, expected=expected, got=got, remedy=remedy))


def in_a_line(message: str, options: Collection[str]) -> str:
    """The reader's message, with what a person needs of it first.

    Example:
        >>> in_a_line("Unrecognized arguments: --trainer.max_epchs 3", ["--trainer.max_epochs", "--out"])
        '--trainer.max_epchs: expected an option, got a name that none has. Remedy: write --trainer.max_epochs.'

    Args:
        message: of the reader of options.
        options: that there are.
    """
    option, message = _innermost(message)
    if (named := _CLASS.search(message)) and (argument := _ARGUMENT.search(named[2])):
        known = _arguments(named[1])
        meant = nearest(argument[1], known)
        remedy = f"write {meant}" if meant else f"leave it out; there are {', '.join(known) or 'none'}"
        return refusal(option, f"an option of {named[1]}", f"{argument[1]}, which it has not", remedy)
    if named:
        lacking = _LACKING.search(named[2])
        remedy = _NAME_A_CLASS
        if lacking is not None and not f"{named[1]}.".startswith(f"{lacking[1]}."):
            remedy = f"install {lacking[1]}, which that module imports"
        return refusal(option, "a class that can be imported", f"{named[1]}: {named[2].strip()}", remedy)
    if other := _NO_SUBCLASS.search(message):
        given = _GIVEN.search(message)
        got = given[1].strip() if given else "another class"
        return refusal(option, f"a class that is a {other[1]}", got, _NAME_A_CLASS)
    if _BOOLEAN.search(message):
        return refusal(
            option, "words", "true or false, as which YAML reads yes, no, on and off without quotes",
            f'put each word in quotes, {option} \'["yes", "no"]\'',
        )  # fmt: skip
    if absent := _NO_FILE.search(message):
        return refusal(option, "the name of a file", f"{absent[1]}, which is not there", "check the path")
    if unknown := _UNKNOWN.search(message):
        return no_option(unknown[1], options)
    if missing := _NO_VALUE.search(message):
        return refusal(missing[1], "a value", "nothing", "write one behind it, or leave the option out")
    if chosen := _CHOICE.search(message):
        words = [word.strip("'\" ") for word in chosen[1].split(",")]
        return no_choice(option, chosen[2].strip(), words)
    if strayed := _KEY_OF_GROUP.search(message):
        return _no_key(strayed[1], options)
    if strayed := _PLACE.search(message):
        return no_place(strayed[1])
    if required := _REQUIRED.search(message):
        name = required[1].partition(".")[2] if required[1].partition(".")[0] in _GROUPING else required[1]
        return refusal(f"--{name}", "a value", "nothing", "give it, or name a file that does with --config")
    if unread := _NO_YAML.search(message):
        *_, (line, column) = _LINE.findall(message) or [("?", "?")]
        why = " ".join(_LINE.sub("", unread[1]).split())
        return refusal("--config", "a file of YAML", f"{why}, in line {line}, column {column}", "mend that line")
    if typed := _TYPED.search(message):
        kinds = list(dict.fromkeys(_kind(each) for each in _TYPES.findall(typed[1]) if each not in _SELDOM))
        # Of a class that is to be named, and of a list of such.
        remedy = _of_type(option) if set(kinds) <= set(_KINDS.values()) else _NAME_A_CLASS
        return refusal(option, " or ".join(kinds), repr(typed[2].strip()), remedy)
    if typed := _ONE_TYPE.search(message):
        return refusal(option, _kind(typed[1]), repr(typed[2].strip()), _of_type(option))
    whole = " ".join(_KEY.sub(r"--\1", message).split()).removesuffix(".")
    return f"{whole}. Remedy: {_LISTED}."


def _innermost(message: str) -> tuple[str, str]:
    """The option that is wrong, and what is said of it: of a class's arguments the argument's."""
    key, said = "", message
    for found in _KEY.finditer(message):
        key = found[1] if not key or found[1].startswith(f"{key}.") else f"{key}.{found[1]}"
        said = message[found.start() :]
    return f"--{key}", said


def _kind(name: str) -> str:
    """A type's name in words."""
    within = name.removeprefix("list[")
    words = _KINDS.get(within, within.rpartition(".")[2])
    return words if within == name else f"a list of {words}"


def _of_type(option: str) -> str:
    return f"write such a value, or leave {option} out"


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
    return _no_name(word, meant)


def _no_name(word: str, meant: str) -> str:
    return refusal(word, "an option", "a name that none has", f"write {meant}" if meant else _LISTED)


def no_choice(option: str, word: str, choices: Collection[str]) -> str:
    """A refusal of a value that is none of those that there are."""
    meant = nearest(word, choices, _ALIKE_CHOICES)
    remedy = f"write {option} {meant}" if meant else f"choose one, as in {option} {next(iter(choices), '')}"
    return refusal(option, f"one of {', '.join(choices)}", repr(word), remedy)


def no_place(word: str) -> str:
    """A refusal of a word that belongs to no option."""
    return refusal(repr(word), "options", "a word that has no place", "leave it out, or write its option before it")


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
    if not meant:
        # What stands below a class is none of the options that there are.
        group, dot, rest = key.partition(".")
        group = nearest(f"--{group}", options).removeprefix("--")
        meant = f"{group}{dot}{rest}" if group else ""
    return _no_name(key, meant)
