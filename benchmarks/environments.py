"""Environments of other libraries, each installed by itself: their requirements contradict each other and ours."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["FOLDER", "ROOT", "NotInstalled", "interpreter"]

ROOT = Path(__file__).parents[1]
#: Where environments are kept between runs; safe to delete.
FOLDER = ROOT / "build" / "benchmarks"
_REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"


class NotInstalled(RuntimeError):
    """pip could not install an environment; the message has its last words."""


def interpreter(name: str) -> Path:
    """The Python of an environment with ``benchmarks/peers/requirements/<name>.txt``, installed if it is not there.

    Raises:
        NotInstalled: pip failed, for want of a network or of a wheel; nothing half-installed stays behind.
    """
    requirements = (_REQUIREMENTS / f"{name}.txt").read_bytes()
    # Another set of requirements is another environment.
    folder = FOLDER / f"{name}-{hashlib.sha256(requirements).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(
        f"installing {', '.join(requirements.decode().splitlines())} into {folder.relative_to(ROOT)}", file=sys.stderr
    )
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "-r", str(_REQUIREMENTS / f"{name}.txt")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise NotInstalled(f"{name} could not be installed: {said}")
    (folder / "complete").touch()
    return python
