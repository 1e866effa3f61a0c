"""Processes that measure when they are told to, so that those of several libraries take turns.

Each is a module of ``benchmarks/peers``, run by the interpreter of its own environment. It reads one JSON object a
line, ``{"call": NAME, ...}``, and answers with one line of JSON: see :mod:`benchmarks.peers.serving`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.environments import ROOT

__all__ = ["Worker", "WorkerFailed"]


class WorkerFailed(RuntimeError):
    """A worker's process ended, or its library raised; the message has its last line."""


class Worker:
    """A running module, to be used in a ``with`` statement.

    Args:
        python: the interpreter that runs it.
        module: for example ``"benchmarks.peers.torchao_steps"``.
    """

    def __init__(self, python: Path, module: str) -> None:
        self.module = module
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=ROOT,
        )

    def ask(self, call: str, **arguments: object) -> Any:
        """What the module's function of that name returns.

        Raises:
            WorkerFailed: it raised, or the process is gone.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(f"{self.module}: {self._last_words()}") from None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise WorkerFailed(f"{self.module}: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"{self.module}: {answer['error']}")
        return answer["result"]

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().strip().splitlines()
        return lines[-1] if lines else f"ended with exit code {self._process.poll()}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._said.close()
