"""``python -m docs`` writes ``docs/reference.md``, names, signatures and first lines, and the README's support table.

Of the reference and of the tables of rooms in ``docs/architecture.md``, which it makes too, sources are parsed, not
imported, so that the pages are the same under every version of Python and of the libraries.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docs.rooms import PAGE as HOUSE
from docs.rooms import first_paragraph, with_tables

__all__ = ["PAGE", "README", "reference", "with_support_table"]

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("reference.md")
README = ROOT / "README.md"

#: What a user calls, in the order of a run; modules that no one outside calls are left out.
_CHAPTERS = {
    "Training": (
        "qtorch/__init__.py",
        "qtorch/post_training/__init__.py",
        "qtorch/errors.py",
    ),
    "Training with Lightning": (
        "qtorch/lightning/callback.py",
        "qtorch/lightning/data.py",
        "qtorch/lightning/task.py",
        "qtorch/lightning/regression.py",
        "qtorch/lightning/classification.py",
        "qtorch/lightning/reconstruction.py",
        "qtorch/lightning/checkpoint.py",
        "export/pipeline/run.py",
    ),
    "Arithmetic": (
        "qtorch/numbers/functional.py",
        "qtorch/numbers/fixedpoint.py",
        "qtorch/numbers/straight_through.py",
        "qtorch/ranges/observer.py",
        "qtorch/ranges/observers.py",
        "qtorch/ranges/histogram_observers.py",
    ),
    "Operators": ("qtorch/row/row.py", "qtorch/row/constraints.py", "qtorch/row/kernel_call.py"),
    "Export": (
        "export/bundle/make.py",
        "export/bundle/bundle.py",
        "export/figures/subject.py",
        "export/bundle/folder.py",
        "export/bundle/manifest.py",
        "export/bundle/dry_run.py",
        "export/graph/build.py",
        "export/graph/ir.py",
        "export/tflite/writer.py",
        "export/tflite/reader.py",
        "export/c/model.py",
        "export/device/headers.py",
        "export/boards/__init__.py",
        "export/device/firmware_project.py",
    ),
    "Checks and measurements": (
        "export/graph/interpret.py",
        "export/engines/__init__.py",
        "export/parity/judges.py",
        "export/parity/outputs.py",
        "export/c/compiled.py",
        "export/figures/sensitivity.py",
        "export/figures/quantization_report.py",
        "export/figures/tensor_error.py",
        "export/cost/profile.py",
        "export/cost/layers.py",
        "export/cost/machines.py",
        "export/cost/macs.py",
        "export/cost/board_estimate.py",
        "export/console/page.py",
        "export/console/terminal.py",
        "firmware/emulation/__init__.py",
    ),
}

_Definition = ast.FunctionDef | ast.ClassDef


def reference() -> str:
    """The page's text."""
    parts = [
        "# Reference\n",
        "Made from the sources by `python -m docs`; a test says when it is out of date. Arguments, ranges, shapes,",
        "errors and sources stand in the docstrings: `help(qtorch.prepare)`. Begin with the [tutorial](tutorial.md).\n",
    ]
    for chapter, files in _CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        for file in files:
            parts += _module(Path(file))
    return "\n".join(parts)


def _module(file: Path) -> Iterator[str]:
    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    yield f"### [`{module}`](../{file.as_posix()})\n"
    yield first_paragraph(tree) + "\n"
    for name in _public(tree):
        found = _definition(tree, name)
        if found is None:
            continue
        yield f"- `{_signature(found)}`: {first_paragraph(found)}"
        if isinstance(found, ast.ClassDef):
            for method in found.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and first_paragraph(method):
                    yield f"  - `{_signature(method)}`: {first_paragraph(method)}"
    yield ""


def _public(tree: ast.Module) -> list[str]:
    """The names in ``__all__``."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in statement.targets):
            return list(ast.literal_eval(statement.value))
    return []


def _definition(tree: ast.Module, name: str) -> _Definition | None:
    """A function or class of that name, here or where it was imported from; ``None`` for constants."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            return statement
        if isinstance(statement, ast.ImportFrom) and any(alias.name == name for alias in statement.names):
            origin = ROOT / Path(*(statement.module or "").split("."))
            for file in (origin.with_suffix(".py"), origin / "__init__.py"):
                if file.exists():
                    return _definition(ast.parse(file.read_text(encoding="utf-8")), name)
    return None


def _signature(node: _Definition) -> str:
    """As one calls it: without types, which the source has."""
    if isinstance(node, ast.FunctionDef):
        is_property = any(getattr(each, "id", "") in ("property", "cached_property") for each in node.decorator_list)
        return node.name if is_property else f"{node.name}({_arguments(node)})"
    constructor = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    if constructor:
        return f"{node.name}({_arguments(constructor[0])})"
    if not any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return node.name
    fields = [
        ast.unparse(each.target) + ("" if each.value is None else "=...")
        for each in node.body
        if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each.annotation)
    ]
    inherited = [f"{base.id}'s fields" for base in node.bases if isinstance(base, ast.Name) and base.id != "Exception"]
    return f"{node.name}({', '.join([*inherited, *fields])})"


def _arguments(node: ast.FunctionDef) -> str:
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    shown = [_argument(each, default) for each, default in zip(plain, defaults, strict=True)]
    if plain and plain[0].arg in ("self", "cls"):
        shown = shown[1:]
    if given.vararg or given.kwonlyargs:
        shown.append(f"*{given.vararg.arg}" if given.vararg else "*")
    shown += [_argument(each, default) for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        shown.append(f"**{given.kwarg.arg}")
    return ", ".join(shown)


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg if default is None else f"{argument.arg}={ast.unparse(default)}"


def with_support_table(readme: str, table: str) -> str:
    """The README with its table of what can be exported, the one with the same head, replaced."""
    lines, head = readme.split("\n"), table.split("\n")[0]
    start = lines.index(head)
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return "\n".join([*lines[:start], table, *lines[end:]])


if __name__ == "__main__":
    from export.commands.support import support_table

    PAGE.write_text(reference(), encoding="utf-8")
    README.write_text(with_support_table(README.read_text(encoding="utf-8"), support_table()), encoding="utf-8")
    HOUSE.write_text(with_tables(HOUSE.read_text(encoding="utf-8")), encoding="utf-8")
