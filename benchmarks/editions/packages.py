"""Python packages of TFLite Micro, of its whole history, each in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks.environments import ROOT, NotInstalled

__all__ = ["FOLDER", "VERSIONS", "day", "installed", "numpy_1", "pinned"]

#: Where packages, models and their outputs are kept between runs; safe to delete.
FOLDER = ROOT / "build" / "editions"
#: About one in two months, and the days around changes of arithmetic. What PyPI has from 2026-02-04 to 2026-09-24 is
#: built for later Pythons, though it says otherwise: 3.11 doesn't load it.
VERSIONS = (
    "20231010131554",
    "20231214171620",
    "20240223003522",
    "20240424144516",
    "20240524170235",
    "20240624135632",
    "20240819160207",
    "20241025232721",
    "20241223180107",
    "20250207030249",
    "20250421190845",
    "20250710203257",
    "20251002174034",
    "20251210174019",
    "20260203175027",
    "20260925222358",
    "20261012203412",
    "20261013214400",
)
_NUMPY = "numpy==1.26.4"


def day(version: str) -> str:
    """The date of a version.

    Example:
        >>> day("20231010131554")
        '2023-10-10'
    """
    return f"{version[:4]}-{version[4:6]}-{version[6:8]}"


def installed(version: str, folder: Path = FOLDER) -> Path:
    """The folder that a package is in, downloaded if it is not there.

    Raises:
        NotInstalled: pip failed, for want of a network or of a wheel; nothing half-installed stays behind.
    """
    return _downloaded(f"tflite-micro==0.dev{version}", folder / version)


def numpy_1(folder: Path = FOLDER) -> Path:
    """A folder with the NumPy that packages until 2024 were built for; later ones take it, too.

    Raises:
        NotInstalled: as of :func:`installed`.
    """
    return _downloaded(_NUMPY, folder / "numpy")


def _downloaded(wanted: str, target: Path) -> Path:
    if target.exists():
        return target
    print(f"installing {wanted} into {target}", file=sys.stderr)
    # Beside its place until it is whole.
    with tempfile.TemporaryDirectory(dir=_made(target.parent)) as half:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--pre", "--no-deps", "--target", half, wanted]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise NotInstalled(f"{wanted} could not be installed: {said}")
        Path(half).rename(target)
        Path(half).mkdir()
    return target


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pinned() -> tuple[str, Path]:
    """The version that is installed here, against which every export is proven, and the folder that it is in."""
    found = metadata.distribution("tflite-micro")
    return found.version.partition("dev")[2], Path(str(found.locate_file("")))
