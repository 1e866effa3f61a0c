"""Workers of several libraries, asked in turn; one that is absent or fails is a line of the result, not its end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import NotInstalled, interpreter
from benchmarks.workers import Worker, WorkerFailed

__all__ = ["Absent", "Peer", "Round", "Rounds", "absent_lines", "rounds"]


@dataclass(frozen=True)
class Peer:
    """A library, the module that measures it, and the environment that this needs; ``None``: the present one."""

    library: str
    module: str
    environment: str | None = None


@dataclass(frozen=True)
class Absent:
    """What could not be measured, and why."""

    what: str
    why: str


#: What each library answered in one turn.
Round = dict[str, dict[str, float]]
#: Of each task, its turns; and what is missing.
Rounds = tuple[dict[str, list[Round]], list[Absent]]


def rounds(peers: Sequence[Peer], tasks: Iterable[str], turns: int) -> Rounds:
    """Ask every peer for one turn after the other, so that whatever slows the machine slows all of them."""
    found: dict[str, list[Round]] = {}
    absent: list[Absent] = []
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for peer in peers:
            try:
                python = Path(sys.executable) if peer.environment is None else interpreter(peer.environment)
                workers[peer.library] = stack.enter_context(Worker(python, peer.module))
            except NotInstalled as error:
                absent.append(Absent(peer.library, str(error)))
        for task in tasks:
            here = {}
            for library, worker in workers.items():
                try:
                    worker.ask("start", task=task)
                    here[library] = worker
                except WorkerFailed as error:
                    absent.append(Absent(f"{library}, {task}", str(error)))
            found[task] = []
            for _ in range(turns):
                answers = {}
                for library, worker in list(here.items()):
                    try:
                        answers[library] = worker.ask("turn")
                    except WorkerFailed as error:
                        absent.append(Absent(f"{library}, {task}", str(error)))
                        del here[library]
                found[task].append(answers)
    return found, absent


def absent_lines(found: dict[str, Any]) -> list[str]:
    """What stands below a table whose JSON has ``absent``."""
    return [line for each in found["absent"] for line in ("", f"{each['what']}: {each['why']}.")]
