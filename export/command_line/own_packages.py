"""The working folder can be imported from, and does not replace this project's packages.

There lie the classes that a configuration or a checkpoint names. There may also lie an ``export.py`` or ``recipes.py``
of somebody's own, which are not what a command means.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

__all__ = ["OWN", "foreign", "open_working_folder"]

#: The packages of the project, which lie beside each other.
OWN = ("export", "qtorch", "recipes", "firmware")
_ROOT = Path(__file__).resolve().parents[2]


def open_working_folder() -> None:
    """Import this project's packages, and after that put the working folder on the path."""
    root, here = str(_ROOT), str(Path.cwd())
    sys.path.insert(0, root)
    try:
        for name in OWN:
            import_module(name)
    finally:
        sys.path.remove(root)
    if here == root or here in sys.path[:1]:
        return
    # Processes that are started from here inherit the path, and import anew.
    sys.path[:0] = [root, here] if any(map(_lies_here, OWN)) else [here]


def foreign() -> str:
    """The file of another package that is loaded under one of this project's names, empty if there is none."""
    for name in OWN:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and _ROOT not in Path(file).resolve().parents:
            return str(file)
    return ""


def _lies_here(name: str) -> bool:
    return Path(name).is_dir() or Path(f"{name}.py").exists()
