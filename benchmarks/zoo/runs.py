"""One network through one tool, in a process of its own with limits: what came of it is a JSON file."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from benchmarks.environments import ROOT
from benchmarks.zoo.networks import Listed
from benchmarks.zoo.tools import TOOLS
from qtorch.errors import BadInput, ParityError

__all__ = ["Limits", "result_file", "run"]

_OURS = tuple(str(ROOT / package) for package in ("qtorch", "export", "benchmarks"))
_NOT_THE_USERS = (*_OURS, str(Path(torch.__file__).parent), sysconfig.get_path("stdlib") + os.sep, "<")
_OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|bad_alloc")

#: Seconds on the clock.
_TO_BUILD = 300


@dataclass(frozen=True)
class Limits:
    """What a network may take once it is built.

    Attributes:
        seconds: of processor time; on a busy machine far more may pass on the clock.
        gigabytes: of address space, beyond what the process has when it begins.
    """

    seconds: float = 60
    gigabytes: float = 4


def result_file(folder: Path, tool: str, network: str) -> Path:
    """Where a network's result lies, its log beside it."""
    return folder / tool / f"{network.replace('/', '__')}.json"


def run(network: Listed, tool: str, folder: Path, limits: Limits) -> dict[str, Any]:
    """What comes of a network, written to :func:`result_file` as well.

    ``verdict`` is ``exact`` (of another tool: ``runs`` or ``not in TFLM``), ``refused``, ``failed``, ``wrong``, ``too
    long``, ``too big`` or ``unbuilt``; ``stage`` is where it ended if not well.
    """
    file = result_file(folder, tool, network.called)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=_inside, args=(network, tool, file, limits))
    process.start()
    process.join(_TO_BUILD + 10 * limits.seconds)
    if process.is_alive():
        process.kill()
        process.join()
        _write(file, {"network": network.called, "verdict": "too long", "stage": "unknown"})
    elif not file.exists():
        got = f"ended with exit code {process.exitcode}"
        _write(file, {"network": network.called, "verdict": "failed", "stage": "unknown", "got": got})
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _inside(network: Listed, tool: str, file: Path, limits: Limits) -> None:
    log = os.open(file.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    found: dict[str, Any] = {"network": network.called, "stage": "build"}

    def end(*_: int | FrameType | None) -> None:
        _write(file, {**found, "verdict": "too long"})
        os._exit(0)

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(limits.gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGPROF, end)
    try:
        subject = network.built()
        found["parameters"] = sum(each.numel() for each in subject.network.parameters())
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        TOOLS[tool](subject, found)
        del found["stage"]
    except BaseException as error:  # a network may even call sys.exit
        # Not to be interrupted while it is written down.
        signal.setitimer(signal.ITIMER_PROF, 0)
        traceback.print_exc()
        found |= {"verdict": found.get("verdict") or _verdict(error, found["stage"]), **_said(error)}
    signal.setitimer(signal.ITIMER_PROF, 0)
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    _write(file, found)


def _verdict(error: BaseException, stage: str) -> str:
    if any(isinstance(each, MemoryError) or _OUT_OF_MEMORY.search(str(each)) for each in _chain(error)):
        return "too big"
    if stage == "build":
        return "unbuilt"
    return "refused" if isinstance(error, BadInput) else "wrong" if isinstance(error, ParityError) else "failed"


def _said(error: BaseException) -> dict[str, str]:
    """A refusal's four parts; of any other error its name, its message, and the last line of the network's own code."""
    if isinstance(error, BadInput):
        return {part: str(getattr(error, part)) for part in ("where", "expected", "got", "remedy")}
    message = str(error).strip().split("\n")[0]
    return {"where": _last_line(error), "got": f"{type(error).__name__}: {message:.300}"}


def _last_line(error: BaseException) -> str:
    """``file:line: text`` of the deepest frame that is neither ours nor torch's nor Python's, of the first cause."""
    frames = [frame for each in _chain(error) for frame in traceback.extract_tb(each.__traceback__)]
    users = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
    if not users:
        return ""
    folder = next((each for each in sys.path if each and users[-1].filename.startswith(each)), "")
    return f"{users[-1].filename.removeprefix(folder).lstrip(os.sep)}:{users[-1].lineno}: {users[-1].line}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from, the first cause last; torch closes some of these chains to circles."""
    met: list[BaseException] = []
    while error is not None and not any(each is error for each in met):
        met.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _write(file: Path, found: dict[str, Any]) -> None:
    """Whole, or not at all: a process that is killed leaves no half of it."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(file)
