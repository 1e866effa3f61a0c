"""A bundle's folders: probed before training, written whole, replaced whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from export.boards import board
from export.bundle.folder_replacement import Replacement, locked, require_followable
from export.bundle.manifest import Manifest, manifest_of, manifests_in
from export.bundle.paths_inside import stays_inside
from export.c_language.names import c_identifier
from export.engines import tflm_absent
from export.options import ExportOptions
from qtorch.errors import BadConfiguration, Unwritable

__all__ = ["Written", "probe_export", "probe_folders", "probe_writable", "temporary_files", "write_bundle"]

#: Behind a model's name, the longest that a file of a bundle is called.
_LONGEST = "_quantization.h.export"
#: Files of every bundle, whatever its name.
_SHARED = ("metrics.json", "parity.json", "report.html")
_CHECKPOINT = ".ckpt"
#: Of a file's name, where the system does not say how long one may be.
_NAME_BYTES = 255
_PROBE = ".probe"
_REMEDY = "choose another folder"
#: What an export needs at least beside its results: a model, generated C.
_TEMPORARY_BYTES = 2**18


def probe_export(out: Path, options: ExportOptions, name: str | None = None) -> None:
    """Fail now rather than after training where the results could not be made or written; leave nothing behind.

    Args:
        out: the bundle's folder.
        options: of the export.
        name: of the model, any string, if it is known.

    Raises:
        Unwritable: a folder can't be made or written, or holds the bundle of another name, or what no export
            has left there; or there is no room for temporary files.
        BadConfiguration: a firmware project is asked for where nothing can measure the arena it needs.
    """
    probe_folders(out, name, {} if options.firmware is None else {"--export.firmware": options.firmware})
    if options.firmware is not None and board(options.target).tflm and tflm_absent():
        raise BadConfiguration(
            where="export.firmware",
            expected="the tflite-micro Python package, which measures the arena",
            got=tflm_absent(),
            remedy="export on Linux on x86-64, where pip installs it, or leave out export.firmware",
        )


def probe_folders(out: Path, name: str | None = None, others: Mapping[str, Path] = {}) -> None:
    """Fail now rather than later where results could not be written; leave nothing behind.

    Args:
        out: the bundle's folder.
        name: of the model, any string, if it is known.
        others: more folders, by the option that named each.

    Raises:
        Unwritable: a folder can't be made or written, or holds the bundle of another name, or what no export
            has left there; or there is no room for temporary files.
    """
    try:
        with tempfile.TemporaryFile() as probe:
            probe.write(bytes(_TEMPORARY_BYTES))
    except OSError as error:
        raise _no_temporary(error) from error
    for where, folder in {"--out": out, **others}.items():
        probe_writable(folder, where, name)
        require_followable(Path(os.path.realpath(folder)))
    if name is not None:
        _require_own(Path(os.path.realpath(out)), "--out", c_identifier(name), _SHARED)


def probe_writable(out: Path, where: str = "--out", name: str | None = None) -> None:
    """Fail now rather than after training, and leave nothing behind: what will be made is made beside it, and removed.

    Args:
        out: a folder that may exist.
        where: the option that named it.
        name: of a model whose files it shall hold.

    Raises:
        Unwritable: ``out`` is a file, or can't be made or written, or a path in it would be too long.
    """
    file = c_identifier(name or "") + _LONGEST
    with _or_unwritable(where, out):
        real = Path(os.path.realpath(out))
        existing = next(each for each in (real, *real.parents) if os.path.exists(each))
        probe = Path(tempfile.mkdtemp(dir=existing, prefix=_PROBE))
        try:
            within = probe / real.relative_to(existing)
            within.mkdir(parents=True, exist_ok=True)
            _require_short(within, file)
            (within / file).touch()
        finally:
            shutil.rmtree(probe)


def _require_short(folder: Path, file: str) -> None:
    """Tell a name of a model that is too long for any folder of a disk from a folder whose own path is.

    Raises:
        Unwritable: it is.
    """
    most = os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else _NAME_BYTES
    if len(os.fsencode(file)) > most:
        room = most - len(_LONGEST)
        raise Unwritable(
            where="--name", expected=f"a name of at most {room} letters, before {_LONGEST!r} and the like",
            got=f"{len(file) - len(_LONGEST)} letters: {file[:20]}...", remedy="choose a shorter name",
        )  # fmt: skip


@dataclass(frozen=True)
class _Target:
    """A folder, the option that named it, and what shall be in it."""

    where: str
    folder: Path
    files: Mapping[str, bytes]


class Written(Protocol):
    """What is written: a bundle of any kind.

    Attributes:
        name: of the model, a C identifier.
        files: content by file name.
        firmware: content of a project's files, by path; empty without one.
    """

    @property
    def name(self) -> str: ...
    @property
    def files(self) -> Mapping[str, bytes]: ...
    @property
    def firmware(self) -> Mapping[str, bytes]: ...


def write_bundle(
    bundle: Written, out: Path, firmware: Path | None = None, checkpoint: Path | None = None
) -> tuple[Path, ...]:
    """Write a verified bundle, and its project to ``firmware`` if it has one, each with a manifest.

    What the last bundle of this name wrote and this one does not is removed, unless somebody has changed it since, or
    it is a checkpoint; other files stay. What is in the way and nobody's, or changed since, is kept beside.

    Args:
        bundle: to be written.
        out: its folder.
        firmware: the project's.
        checkpoint: that the bundle was made from; in ``out``, it belongs to it.

    Returns:
        What was kept: ``NAME.before``, or ``NAME.before2`` and so on where there is one already.

    Raises:
        Unwritable: a folder can't be written, or holds the bundle of another name; what was there before is unchanged.
    """
    targets = _targets(bundle, out, firmware)
    with ExitStack() as stack:
        # In one order, so that two exports with each other's folders do not wait for each other.
        for target in sorted(targets, key=lambda target: target.folder):
            with _or_unwritable(target.where, target.folder):
                stack.enter_context(locked(target.folder))
        replacements = []
        try:
            for target in targets:
                with _or_unwritable(target.where, target.folder):
                    replacements.append(_replacement(bundle.name, target, checkpoint))
                    replacements[-1].stage()
            # Nothing is moved before everything is written: a full disk must not leave one folder without the other.
            for step in (Replacement.commit, Replacement.apply):
                for target, replacement in zip(targets, replacements, strict=True):
                    with _or_unwritable(target.where, target.folder):
                        step(replacement)
        except BaseException:
            for target, replacement in zip(targets, replacements, strict=False):
                with _or_unwritable(target.where, target.folder):
                    replacement.undo()
            raise
        for replacement in replacements:
            replacement.discard()
        return tuple(each.folder / beside for each in replacements for beside in each.kept.values())


def _targets(bundle: Written, out: Path, firmware: Path | None) -> Sequence[_Target]:
    real = Path(os.path.realpath(out))
    if firmware is None:
        return (_Target("--out", real, bundle.files),)
    project = Path(os.path.realpath(firmware))
    if project == real:
        return (_Target("--out", real, {**bundle.files, **bundle.firmware}),)
    return (_Target("--out", real, bundle.files), _Target("--export.firmware", project, bundle.firmware))


def _replacement(name: str, target: _Target, checkpoint: Path | None) -> Replacement:
    folder = target.folder
    # What a killed export has left is finished before anything is read.
    replacement = Replacement(folder, {})
    _require_own(folder, target.where, name, tuple(target.files))
    before = manifests_in(folder).get(name, Manifest(name, {}))
    manifest = manifest_of(name, target.files)
    belongs = None if checkpoint is None else Path(os.path.realpath(checkpoint))
    if belongs is not None and belongs.parent == folder and belongs.name not in manifest.files:
        own = manifest_of(name, {belongs.name: belongs.read_bytes()})
        manifest = Manifest(name, {**manifest.files, **own.files})
    replacement.files = {**target.files, manifest.file: manifest.content()}
    replacement.stale = tuple(
        file
        for file in before.files
        # Training can't be repeated as an export can.
        if file not in manifest.files
        and not file.endswith(_CHECKPOINT)
        and stays_inside(folder, file)
        and before.unchanged(folder, file)
    )
    replacement.kept = _kept(folder, replacement.files, before)
    return replacement


def _kept(folder: Path, files: Mapping[str, bytes], before: Manifest) -> dict[str, str]:
    """By name, how a file is called from now on that no export wrote as it is, and that a new one would replace."""
    kept: dict[str, str] = {}
    for file, content in files.items():
        path = folder / file
        # A checkpoint is the training's own to replace.
        if file == before.file or file.endswith(_CHECKPOINT) or not path.is_file():
            continue
        if path.read_bytes() == content or (file in before.files and before.unchanged(folder, file)):
            continue
        numbered = (f"{file}.before{n if n > 1 else ''}" for n in count(1))
        kept[file] = next(each for each in numbered if each not in files and not os.path.lexists(folder / each))
    return kept


def _require_own(folder: Path, where: str, name: str, files: Sequence[str]) -> None:
    """Refuse to overwrite what belongs to a bundle of another name.

    Raises:
        Unwritable: a file does.
    """
    for other, manifest in manifests_in(folder).items():
        both = sorted(set(files) & set(manifest.files))
        if other != name and both:
            raise Unwritable(
                where=where,
                expected=f"a folder without another bundle's {both[0]}",
                got=f"{folder}, which holds the bundle {other!r}",
                remedy=f"choose another folder, or the name {other}",
            )


@contextmanager
def _or_unwritable(where: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(
            where=where,
            expected="a folder that can be made or written",
            got=f"{folder}: {_in_words(error)}",
            remedy=_REMEDY,
        ) from error


def _in_words(error: OSError) -> str:
    """The system's words; without a path that was there for the moment of a probe."""
    probed = any(part.startswith(_PROBE) for part in Path(os.fsdecode(error.filename or "")).parts)
    return error.strerror if probed and error.strerror else str(error)


@contextmanager
def temporary_files() -> Iterator[None]:
    """Where temporary files are written, a full or absent folder for them is told in words.

    Raises:
        Unwritable: there is no room for them.
    """
    try:
        yield
    except OSError as error:
        no_folder = isinstance(error, FileNotFoundError) and error.filename is None
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and not no_folder:
            raise
        raise _no_temporary(error) from error


def _no_temporary(error: OSError) -> Unwritable:
    return Unwritable(
        where="TMPDIR",
        expected="a folder with room for temporary files",
        got=str(error),
        remedy="make room, or set TMPDIR to another folder",
    )
