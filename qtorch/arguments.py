"""Arguments of a call by name: one that is misspelt, or absent, is told in words."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import ParamSpec, TypeVar

from qtorch.errors import UnknownArgument

__all__ = ["spelt", "spelt_fields"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def spelt(
    also: Callable[[], Collection[str]] = tuple, elsewhere: Mapping[str, str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: names of arguments that the function does not take raise UnknownArgument, with the nearest name.

    Args:
        also: gives names that it takes as ``**choices``.
        elsewhere: names that another call takes, with what is to be written there.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        named = {name: each for name, each in signature.parameters.items() if name != "self"}
        own = [name for name, each in named.items() if each.kind is not each.VAR_KEYWORD]

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            _require_known(kwargs, list(dict.fromkeys([*own, *also()])), elsewhere or {})
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


def spelt_fields(dataclass: type[T]) -> type[T]:
    """A decorator of a dataclass: what is made of names that are none of its fields raises as :func:`spelt` does."""
    dataclass.__init__ = spelt()(dataclass.__init__)  # type: ignore[method-assign]
    return dataclass


def _require_known(names: Collection[str], known: Collection[str], elsewhere: Mapping[str, str]) -> None:
    for name in names:
        if name not in known:
            alike = difflib.get_close_matches(name, [*known, *elsewhere], 1)
            other = elsewhere.get(alike[0]) if alike else None
            raise UnknownArgument(
                where=f"argument {name!r}", expected=f"one of {', '.join(known)}", got=repr(name),
                remedy=other or (f"write {alike[0]}" if alike else "leave it out"),
            )  # fmt: skip


def _head(signature: inspect.Signature) -> str:
    plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))
