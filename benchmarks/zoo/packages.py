"""The corpora's packages: installed into a folder of their own, beside the torch that is here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import torch

from benchmarks.environments import ROOT, NotInstalled

__all__ = ["FOLDER", "SUBSET", "WHOLE", "absent", "importable", "install"]

#: Where packages and results are kept between runs; safe to delete.
FOLDER = ROOT / "build" / "zoo"
WHOLE, SUBSET = (Path(__file__).with_name(name) for name in ("requirements.txt", "subset.txt"))


def absent(requirements: Path, folder: Path = FOLDER / "lib") -> list[str]:
    """Which requirements, with those of the file that it names, are neither in the folder nor here, in that version."""
    here = metadata.distributions(path=[str(folder), *sys.path])
    found = {(_plain(each.name), each.version) for each in here}
    lines = requirements.read_text(encoding="utf-8").split("\n")
    named = [
        line for file in lines if file.startswith("-r ") for line in absent(requirements.parent / file[3:], folder)
    ]
    pins = [line.split("==") for line in lines if "==" in line]
    return named + [f"{name}=={version}" for name, version in pins if (_plain(name), version) not in found]


def install(requirements: Path, folder: Path = FOLDER / "lib") -> None:
    """Have pip put what is absent into the folder, nothing of what it needs in turn: torch stays as it is.

    Raises:
        NotInstalled: pip failed, for want of a network or of a wheel.
    """
    wanted = absent(requirements, folder)
    if not wanted:
        return
    print(f"installing {len(wanted)} packages into {folder}", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(folder), *wanted]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise NotInstalled(f"the zoo's packages could not be installed: {said}")


def importable(folder: Path = FOLDER / "lib") -> None:
    """Let this process import what is in the folder, behind all that it can import already, and nothing download.

    PyPI's torchvision and torchaudio have operators in libraries for CUDA, which don't load beside a torch for
    processors. Those two whose shapes torchvision's modules describe at import are declared here, and torchaudio hears
    that it has none. No network of the list calls any.
    """
    sys.path.append(str(folder))
    for name in ("HF_HUB_OFFLINE", "NO_ALBUMENTATIONS_UPDATE"):
        os.environ[name] = "1"
    for name in ("YOLO_CONFIG_DIR", "MPLCONFIGDIR"):
        os.environ.setdefault(name, str(FOLDER / "settings"))
    if not torch.cuda.is_available():
        torch.library.define("torchvision::nms", "(Tensor boxes, Tensor scores, float iou) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor boxes, Tensor scores, float iou) -> Tensor")
        without = types.ModuleType("torchaudio._extension")
        vars(without).update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, fail_if_no_align=lambda function: function)
        sys.modules[without.__name__] = without


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
