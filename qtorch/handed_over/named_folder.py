"""A folder as a call or an option names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qtorch.errors import BadConfiguration
from qtorch.handed_over.words import shown

__all__ = ["named_folder"]


def named_folder(where: str, folder: Any) -> Path:
    """The folder's path, a ``~`` at its beginning resolved.

    Args:
        where: the argument that named it.
        folder: a text or path, relative to the working folder.

    Raises:
        BadConfiguration: it names none.
    """
    path = os.fspath(folder) if isinstance(folder, str | os.PathLike) else None
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise BadConfiguration(
            where=where, expected="the path of a folder", got=shown(folder), remedy="name one, as in 'build/kws'"
        )
    return Path(os.path.expanduser(path))
