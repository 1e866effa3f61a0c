"""Arguments of a call by name: one that is misspelt, or absent, is told in words."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from typing import ParamSpec, TypeVar

from qtorch.errors import UnknownArgument

__all__ = ["spelt"]

P = ParamSpec("P")
R = TypeVar("R")


def spelt(also: Callable[[], Collection[str]] = tuple) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: names of arguments that the function does not take raise UnknownArgument, with the nearest name.

    Args:
        also: gives names that it takes as ``**choices``.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = [name for name, each in signature.parameters.items() if each.kind is not each.VAR_KEYWORD]

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            _require_known(kwargs, list(dict.fromkeys([*own, *also()])))
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise UnknownArgument(
                    where=f"{function.__name__}()", expected=f"a call as {function.__name__}{_head(signature)}",
                    got=str(error), remedy="pass what is missing, and by name what stands behind the star",
                ) from error  # fmt: skip
            return function(*args, **kwargs)

        return called

    return decorated


def _require_known(names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            alike = difflib.get_close_matches(name, known, 1)
            raise UnknownArgument(
                where=f"argument {name!r}", expected=f"one of {', '.join(known)}", got=repr(name),
                remedy=f"write {alike[0]}" if alike else "leave it out",
            )  # fmt: skip


def _head(signature: inspect.Signature) -> str:
    plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))
