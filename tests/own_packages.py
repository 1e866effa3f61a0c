"""A user's own package, installed as pip would: its modules and what its distribution says of itself, in one folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import tomllib

__all__ = ["installed"]


def installed(source: Path, into: Path) -> None:
    """Copy the packages of ``source`` into a folder of the path, and write the entry points of its pyproject.toml.

    No installer is asked, which would want the network or a build backend.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package in (folder for folder in source.iterdir() if folder.is_dir()):
        shutil.copytree(package, into / package.name, dirs_exist_ok=True)
    stem = project["name"].replace("-", "_")
    described = into / f"{stem}-{project['version']}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (described / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
