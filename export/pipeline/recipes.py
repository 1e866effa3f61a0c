"""``qtorch recipe``: the shipped recipes listed, run and copied.

They are looked up by the name of their package: a recipe may import everything, and nothing imports a recipe.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import runpy
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path

from export.console.page import Line, Table
from export.console.terminal import show
from qtorch.errors import BadConfiguration, Unwritable

__all__ = ["copy_recipe", "recipe_command", "recipes"]

_PACKAGE = "recipes"
_TASK = "_qat"
_COPY = "copy"
_TEXT = (".py", ".yaml", ".md")


def recipe_command(arguments: Sequence[str]) -> None:
    """List the recipes, run one, or copy one.

    Raises:
        BadConfiguration: there is no such recipe, or the copy can't have that name.
        Unwritable: the copy can't be written.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        rows = tuple((name.removesuffix(_TASK), about) for name, (_, about) in recipes().items())
        show([Table(("recipe", "does"), "ll", rows), Line(), *map(Line, _USAGE)])
    elif arguments[0] == _COPY:
        _copy(arguments[1:])
    else:
        name = _named(arguments[0])
        run_recipe(name, arguments[1:])


_USAGE = (
    "qtorch recipe NAME [options]       trains, quantizes, exports and verifies it; --help lists the options",
    "qtorch recipe copy NAME FOLDER     copies it into a folder of one's own: python -m FOLDER runs the copy",
)


def recipes() -> Mapping[str, tuple[Path, str]]:
    """By the name of the package: its folder, and the first line of its docstring."""
    spec = find_spec(_PACKAGE)
    folders = sorted(
        each for root in (spec.submodule_search_locations or () if spec else ()) for each in Path(root).iterdir()
    )
    runnable = [each for each in folders if (each / "__main__.py").is_file() and (each / "__init__.py").is_file()]
    return {each.name: (each, _about(each / "__init__.py")) for each in runnable}


def _about(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def _named(word: str) -> str:
    """The package of a recipe, which may be called by its task.

    Raises:
        BadConfiguration: there is none of that name; says which is like it.
    """
    known = recipes()
    for name in (word, f"{word}{_TASK}"):
        if name in known:
            return name
    names = [name.removesuffix(_TASK) for name in known]
    alike = difflib.get_close_matches(word.removesuffix(_TASK), [*names, _COPY], 1)
    raise BadConfiguration(
        where="qtorch recipe",
        expected=f"one of {', '.join(names)}, or {_COPY}",
        got=repr(word),
        remedy=f"qtorch recipe {alike[0]}" if alike else "qtorch recipe lists them",
    )


#: The words behind ``qtorch recipe NAME`` while that runs; ``None`` where a process's own words are a recipe's.
handed: ContextVar[tuple[str, Sequence[str]] | None] = ContextVar("handed", default=None)


def run_recipe(name: str, arguments: Sequence[str]) -> None:
    """What ``python -m recipes.NAME`` does.

    The process stays the one that was started, with its own words: Lightning starts others like it.

    Raises:
        SystemExit: with the recipe's exit code.
    """
    token = handed.set((f"qtorch recipe {name.removesuffix(_TASK)}", list(arguments)))
    try:
        runpy.run_module(f"{_PACKAGE}.{name}", run_name="__main__")
    finally:
        handed.reset(token)


def _copy(words: Sequence[str]) -> None:
    if len(words) != 2:
        raise BadConfiguration(
            where="qtorch recipe copy",
            expected="the name of a recipe and that of a folder",
            got=" ".join(words) or "nothing",
            remedy="qtorch recipe copy fuel my_fuel",
        )
    name, target = _named(words[0]), Path(words[1])
    copy_recipe(name, target)
    show([Line(f"{target}: a copy of {_PACKAGE}.{name}; it runs with"), Line(f"  python -m {target.name}")])


def copy_recipe(name: str, target: Path) -> None:
    """Copy a recipe's folder; commands in it are called by its new name.

    Args:
        name: of its package.
        target: the new folder, whose last part is the copy's own package.

    Raises:
        BadConfiguration: there is something already, or the name can't be imported.
        Unwritable: it can't be written; then nothing is.
    """
    if not target.name.isidentifier() or keyword.iskeyword(target.name):
        raise BadConfiguration(
            where="qtorch recipe copy",
            expected="a folder that Python can import: letters, digits and underscores",
            got=repr(target.name),
            remedy=f"call it my_{name.removesuffix(_TASK)}",
        )
    if target.exists() or target.is_symlink():
        raise BadConfiguration(
            where=str(target), expected="no such file or folder yet", got="one", remedy="choose another name"
        )
    source, _ = recipes()[name]
    try:
        # Beside its place, so that it gets there whole.
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as room:
            copied = Path(room) / target.name
            shutil.copytree(source, copied, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            for file in copied.rglob("*"):
                if file.suffix in _TEXT:
                    text = file.read_text(encoding="utf-8")
                    file.write_text(_renamed(text, name, target.name), encoding="utf-8")
            copied.rename(target)
    except OSError as error:
        raise Unwritable(
            where=str(target), expected="a folder that can be written", got=str(error), remedy="choose another"
        ) from error


def _renamed(text: str, name: str, copy: str) -> str:
    """A text whose commands and paths are the copy's."""
    return text.replace(f"{_PACKAGE}.{name}", copy).replace(f"{_PACKAGE}/{name}/", f"{copy}/")
