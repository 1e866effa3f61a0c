"""Paths that a file of a folder lists: they are followed, so they must not lead out of it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

__all__ = ["is_inside", "stays_inside"]


def is_inside(file: object) -> bool:
    """Whether a path, ``/`` between folders, is relative and names a file inside the folder that lists it."""
    if not isinstance(file, str) or "\\" in file or "\0" in file:
        return False
    path = PurePosixPath(file)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def stays_inside(folder: Path, file: object) -> bool:
    """The same, where links to other folders are resolved: the file itself may be a link, and is one then."""
    if not isinstance(file, str) or not is_inside(file):
        return False
    real = os.path.realpath(folder)
    parent = os.path.realpath((Path(real) / file).parent)
    return os.path.commonpath([real, parent]) == real
