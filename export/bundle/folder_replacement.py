"""Files of a folder replaced all together: after a kill at any moment either the old ones can be had, or the new ones.

A folder that others use can't be exchanged itself: it may be a mount point, or lie in one that can't be written, and
holds files of other people. So the new files are written into a folder inside it, where every later step is a rename
on the same file system:

    .export-staging     new files are being written, and links to those that they replace: nothing has happened yet
    .export-committed   everything is there; from here the new files are moved into place one by one
    .export-abandoned   a move failed; the old files are being put back

A folder goes from one name to the next in one rename. Whoever finds one of them finishes what it says.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from export.bundle.paths_inside import stays_inside
from qtorch.errors import Unwritable

__all__ = ["Replacement", "finish_interrupted", "locked", "require_followable"]

_STAGING, _COMMITTED, _ABANDONED = ".export-staging", ".export-committed", ".export-abandoned"
_PLAN = "plan.json"
_ATTEMPTS = 100


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """The folder, symbolic links resolved, made if need be and held against other processes of this kind.

    What was made and is still empty at the end is removed.

    Raises:
        OSError: it can't be made.
    """
    real = Path(os.path.realpath(folder))
    created: list[Path] = []
    for attempt in range(_ATTEMPTS):
        created += [each for each in (real, *real.parents) if each not in created and not each.exists()]
        try:
            real.mkdir(parents=True, exist_ok=True)
            lock = os.open(real, os.O_RDONLY)
        except FileNotFoundError:  # another process has just removed what it had made; or nothing can be made there
            if attempt + 1 == _ATTEMPTS:
                raise
            continue
        _wait(lock)
        if _is(real, lock):
            break
        os.close(lock)
    else:
        raise FileNotFoundError(errno.ENOENT, "removed by other processes as often as it was made", str(real))
    try:
        yield real
    finally:
        with suppress(OSError):  # not empty
            for each in sorted(created, key=lambda path: len(path.parts), reverse=True):
                each.rmdir()
        os.close(lock)


def _wait(lock: int) -> None:
    # Neither every system nor every network file system has locks; without them the last export to move files wins.
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)


def _is(folder: Path, lock: int) -> bool:
    """Whether what is locked is still the folder of that name."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(lock))
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class _Plan:
    """Paths in the folder: new files, the last of them moved last; files that go; and which of both were there."""

    files: tuple[str, ...]
    stale: tuple[str, ...] = ()
    had: tuple[str, ...] = ()


class Replacement:
    """New files for a folder that :func:`locked` holds, and files that go.

    Args:
        folder: where; what an earlier process left unfinished is finished.
        files: content by path, ``/`` between folders; the last is moved last.
        stale: files that are removed.
        kept: new names of files that would be replaced and shall be there still, by the old names.

    Raises:
        OSError: of every method: it could not be done, and :meth:`undo` has to be called.
        Unwritable: what an earlier process left there can't be one of this kind's.
    """

    def __init__(
        self, folder: Path, files: Mapping[str, bytes], stale: Sequence[str] = (), kept: Mapping[str, str] | None = None
    ) -> None:
        _finish(folder)
        self.folder, self.files, self.stale, self.kept = folder, files, tuple(stale), dict(kept or {})

    def stage(self) -> None:
        """Write the new files beside the old ones."""
        staging = self.folder / _STAGING
        staging.mkdir()
        for file, content in self.files.items():
            staged = staging / "new" / file
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(content)
        for file, beside in self.kept.items():
            _link(self.folder / file, staging / "new" / beside)
        had = tuple(file for file in (*self.files, *self.stale) if os.path.lexists(self.folder / file))
        for file in had:
            _link(self.folder / file, staging / "old" / file)
        # Before its replacement: at no moment is what is kept to be had under neither name.
        self._plan = _Plan((*self.kept.values(), *self.files), self.stale, had)
        (staging / _PLAN).write_text(json.dumps(asdict(self._plan)))

    def commit(self) -> None:
        """From here on a kill leaves the new files: whoever comes next moves them."""
        os.rename(self.folder / _STAGING, self.folder / _COMMITTED)

    def apply(self) -> None:
        """Move the new files into place, and remove the stale ones."""
        _forward(self.folder, self._plan)

    def undo(self) -> None:
        """The folder as it was, however far this has come."""
        if (self.folder / _COMMITTED).exists():
            os.rename(self.folder / _COMMITTED, self.folder / _ABANDONED)
            _backward(self.folder, self._plan)
        self.discard()

    def discard(self) -> None:
        """Remove what is left beside the files."""
        _discard(self.folder)


def finish_interrupted(folder: Path) -> None:
    """Finish what a process began that was killed between the first and the last file that it moved.

    Raises:
        OSError: it can't be finished.
        Unwritable: no process of this kind began it.
    """
    if any((folder / name).exists() for name in (_COMMITTED, _ABANDONED)):
        with locked(folder) as held:
            _finish(held)


def require_followable(folder: Path) -> None:
    """Refuse a folder in which something looks like what a killed process left, and is not.

    Raises:
        Unwritable: a plan can't be read, or names files outside the folder.
    """
    for name in (_COMMITTED, _ABANDONED):
        _found_plan(folder, name)


def _finish(folder: Path) -> None:
    committed, abandoned = (_found_plan(folder, name) for name in (_COMMITTED, _ABANDONED))
    if committed is not None:
        _forward(folder, committed)
    elif abandoned is not None:
        _backward(folder, abandoned)
    _discard(folder)


def _forward(folder: Path, plan: _Plan) -> None:
    new = folder / _COMMITTED / "new"
    *files, last = plan.files
    for file in files:
        _move(new / file, folder / file)
    for file in plan.stale:
        _remove(folder, file)
    _move(new / last, folder / last)


def _backward(folder: Path, plan: _Plan) -> None:
    new, old = folder / _ABANDONED / "new", folder / _ABANDONED / "old"
    for file in plan.had:
        _move(old / file, folder / file)
    for file in plan.files:
        if file not in plan.had and not os.path.lexists(new / file):
            _remove(folder, file)


def _discard(folder: Path) -> None:
    for name in (_COMMITTED, _ABANDONED):
        if (folder / name).exists():
            shutil.rmtree(folder / _STAGING, ignore_errors=True)
            # In one step: half of a plan must not be followed.
            os.rename(folder / name, folder / _STAGING)
    if (folder / _STAGING).exists():
        shutil.rmtree(folder / _STAGING)


def _found_plan(folder: Path, name: str) -> _Plan | None:
    """The plan that lies in a folder; ``None`` where there is none. Anybody may have put it there.

    Raises:
        Unwritable: it can't be read, or a path in it leads out of the folder.
    """
    at = folder / name
    try:
        written = json.loads((at / _PLAN).read_bytes())
        plan = _Plan(**{key: tuple(written[key]) for key in ("files", "stale", "had")})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _unfollowable(at, "the plan of an export that was interrupted", f"{type(error).__name__}") from error
    # Files are moved from beside the plan, so those must not lie elsewhere either.
    for file in (*plan.files, *plan.stale, *plan.had):
        if at.is_symlink() or not all(stays_inside(*each) for each in _followed(folder, at, file)):
            raise _unfollowable(at, "files inside the folder", f"{file!r}")
    if not plan.files:
        raise _unfollowable(at, "the plan of an export that was interrupted", "one without files")
    return plan


def _followed(folder: Path, at: Path, file: object) -> tuple[tuple[Path, object], ...]:
    return ((folder, file), *((at, f"{side}/{file}") for side in ("new", "old")))


def _unfollowable(at: Path, expected: str, got: str) -> Unwritable:
    return Unwritable(
        where=str(at / _PLAN),
        expected=expected,
        got=" ".join(got.split())[:200],
        remedy=f"remove {at}, and export again",
    )


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # not every file system has links
        shutil.copy2(source, target, follow_symlinks=False)


def _move(source: Path, target: Path) -> None:
    """Nothing if it was moved before."""
    if not os.path.lexists(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A folder inside the folder is a link to another file system.
        beside = target.with_name(f".{target.name}.export")
        shutil.copy2(source, beside, follow_symlinks=False)
        os.replace(beside, target)
        source.unlink()


def _remove(folder: Path, file: str) -> None:
    """A file, and the folders that it leaves empty."""
    path = folder / file
    path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        for parent in path.parents:
            if parent == folder:
                break
            parent.rmdir()
