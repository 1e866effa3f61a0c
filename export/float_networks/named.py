"""What a command line names: a class or a function, made or called with the arguments beside it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import yaml  # type: ignore[import-untyped]

from qtorch.errors import BadConfiguration, BadInput

__all__ = ["called_with", "named", "options_below"]


def options_below(words: Sequence[str], names: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """A command line without the options below some names, and those, read as YAML.

    Example:
        >>> options_below(["--model", "a.B", "--model.width", "8", "--out=o"], ["model"])
        (['--model', 'a.B', '--out=o'], {'model': {'width': 8}})

    Raises:
        BadConfiguration: an option has no value, or one that YAML can't read.
    """
    left: list[str] = []
    below: dict[str, dict[str, Any]] = {name: {} for name in names}
    remaining = iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        owner, dot, name = option.removeprefix("--").partition(".")
        if not (word.startswith("--") and dot and owner in below):
            left.append(word)
            continue
        value = value if equals else next(remaining, "--")
        # A negative number has one dash.
        if not equals and value.startswith("--"):
            raise BadConfiguration(where=option, expected="a value", got="none", remedy=f"write {option} VALUE")
        try:
            below[owner][name] = _number_or(yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise BadConfiguration(
                where=option, expected="a value as YAML has it", got=repr(value), remedy="put a text in quotes"
            ) from error
    return left, below


def _number_or(value: Any) -> Any:
    """YAML 1.1 takes ``1e-3`` for a text; this is the number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def named(where: str, path: str) -> Any:
    """What ``package.module.Name`` or ``package.module:Name`` stands for, imported.

    Args:
        where: the option that it stands in.
        path: of it.

    Raises:
        BadConfiguration: there is none, or its module can't be imported; names the nearest.
    """
    module_name, colon, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in (*module_name.split("."), *name.split("."))):
        raise BadConfiguration(
            where=where, expected="a class or function, as my_package.MyNet or my_package:make_net", got=repr(path),
            remedy="name the module that it stands in, too",
        )  # fmt: skip
    try:
        thing: Any = import_module(module_name)
    # A module of somebody's own fails in whatever way it does.
    except Exception as error:
        raise BadConfiguration(
            where=where, expected=f"a module {module_name} that can be imported", got=_in_a_line(error),
            remedy="run from the folder that holds it, or install it",
        ) from error  # fmt: skip
    for part in name.split("."):
        if not hasattr(thing, part):
            near = difflib.get_close_matches(part, [each for each in vars(thing) if not each.startswith("_")], 1)
            raise BadConfiguration(
                where=where, expected=f"a name that {module_name} has", got=repr(name),
                remedy=f"write {module_name}{colon or '.'}{near[0]}" if near else "correct the name",
            )  # fmt: skip
        thing = getattr(thing, part)
    return thing


def called_with(where: str, thing: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What a class or a function gives of these arguments.

    Args:
        where: the option that it was named in; arguments stand below it.
        thing: a class or a function.
        arguments: by name.

    Raises:
        BadConfiguration: it takes no such argument (names the nearest), needs another, or fails.
    """
    signature = inspect.signature(thing)
    known = [each.name for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    any_name = len(known) < len(signature.parameters)
    for name in arguments:
        if name not in known and not any_name:
            near = difflib.get_close_matches(name, known, 1)
            raise BadConfiguration(
                where=f"{where}.{name}",
                expected=f"arguments of {thing.__name__}: {', '.join(known) or 'it takes none'}",
                got=repr(name), remedy=f"write {where}.{near[0]}" if near else "leave it out",
            )  # fmt: skip
    try:
        signature.bind(**arguments)
    except TypeError as error:
        lacking = next((each for each in known if f"'{each}'" in str(error)), "NAME")
        raise BadConfiguration(
            where=where, expected=f"every argument that {thing.__name__}{signature} needs", got=str(error),
            remedy=f"add {where}.{lacking} VALUE",
        ) from error  # fmt: skip
    try:
        return thing(**arguments)
    except BadInput:
        raise
    # A constructor of somebody's own fails in whatever way it does.
    except Exception as error:
        raise BadConfiguration(
            where=where, expected=f"{thing.__name__}, made of {dict(arguments)}", got=_in_a_line(error),
            remedy=f"correct the arguments, as in {where}.NAME VALUE",
        ) from error  # fmt: skip


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
