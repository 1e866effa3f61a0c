"""What a bundle's folder holds, as a file in it: ``<name>_manifest.json``, and whether that is still so.

    {"format": 1, "bundle": "fuel", "files": {"fuel.tflite": {"bytes": 3200, "sha256": "..."}, ..., "timings.json": {}}}

Files are sorted, ``/`` stands between folders, and nothing in it depends on when or where it was written. What differs
from one export to the next is listed without size and hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.bundle.paths_inside import is_inside
from qtorch.errors import BadModelFile

__all__ = ["TIMINGS", "Manifest", "manifest_file", "manifest_of", "manifests_in", "require_unchanged"]

#: How long things took: of all files the only one that is not the same every time.
TIMINGS = "timings.json"
_SUFFIX = "_manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The files of one bundle.

    Attributes:
        name: the bundle's.
        files: by path; size and SHA-256, or ``None`` of a file that is never the same.
    """

    name: str
    files: Mapping[str, tuple[int, str] | None]

    @property
    def file(self) -> str:
        """What it is called in the folder."""
        return manifest_file(self.name)

    def content(self) -> bytes:
        """The file's bytes."""
        listed = {
            file: {} if proof is None else {"bytes": proof[0], "sha256": proof[1]}
            for file, proof in sorted(self.files.items())
        }
        whole = {"format": _FORMAT, "bundle": self.name, "files": listed}
        return (json.dumps(whole, indent=2) + "\n").encode()

    def unchanged(self, folder: Path, file: str) -> bool:
        """Whether a file is there as it was written."""
        proof = self.files[file]
        try:
            return (folder / file).is_file() if proof is None else _proof((folder / file).read_bytes()) == proof
        except OSError:
            return False


def manifest_file(name: str) -> str:
    """What the manifest of a bundle of that name is called."""
    return f"{name}{_SUFFIX}"


def _proof(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()


def manifest_of(name: str, files: Mapping[str, bytes]) -> Manifest:
    """The manifest of a bundle that is to be written."""
    return Manifest(name, {file: None if file == TIMINGS else _proof(content) for file, content in files.items()})


def manifests_in(folder: Path) -> dict[str, Manifest]:
    """The manifests of all bundles in a folder, by the bundles' names; what is none is left out."""
    manifests = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else ():
        manifest = _read(path)
        if manifest is not None and manifest.file == path.name:
            manifests[manifest.name] = manifest
    return manifests


def _read(path: Path) -> Manifest | None:
    try:
        whole: Any = json.loads(path.read_bytes())
        if whole["format"] != _FORMAT:
            return None
        files = {
            _inside(file): (int(proof["bytes"]), str(proof["sha256"])) if proof else None
            for file, proof in whole["files"].items()
        }
        return Manifest(str(whole["bundle"]), files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _inside(file: str) -> str:
    """The path of a file, if it is one inside the folder: what a manifest lists may be removed.

    Raises:
        ValueError: it is not.
    """
    if not is_inside(file):
        raise ValueError(f"{file!r} lies outside")
    return file


def require_unchanged(model: Path) -> int:
    """How many files of the bundle that a model belongs to were looked at; 0 if it lies in none.

    Args:
        model: a file; its folder's manifests are looked through.

    Raises:
        BadModelFile: a file is not as it was exported, or gone; names it.
    """
    for manifest in manifests_in(model.parent).values():
        if model.name not in manifest.files:
            continue
        for file, proof in manifest.files.items():
            if not manifest.unchanged(model.parent, file):
                raise BadModelFile(
                    where=str(model.parent / file),
                    expected=f"the file as {manifest.file} lists it" + (f", SHA-256 {proof[1]}" if proof else ""),
                    got=_state_of(model.parent / file),
                    remedy=f"export again, or remove {manifest.file} if the change is wanted",
                )
        return len(manifest.files)
    return 0


def _state_of(path: Path) -> str:
    try:
        return f"SHA-256 {_proof(path.read_bytes())[1]}"
    except OSError as error:
        return f"{error}"
