"""Engines in a process of their own, with limits of memory and time: for files that somebody else wrote.

An engine may end the process on a file that parses, ask for all memory, or not come back. Here each of these is an
answer in words, :class:`EngineRefused`, and nothing of it happens to the caller.

>>> run_apart(TFLM, model, (codes,))  # doctest: +SKIP
>>> with Apart(TFLM, model) as interpreter:  # doctest: +SKIP
...     first = interpreter.run((frames[:10],))  # ten runs of one interpreter, whose variables go on
...     again = interpreter.run((frames[:10],), reset="anew")  # each run as the first of a new one
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from export.engines.apart_process import read_message, write_message
from export.engines.engine import Engine, InspectableEngine
from export.engines.litert import LITERT_DEFAULT, LITERT_REFERENCE, WITHOUT_DELEGATES
from export.engines.tflm import ARENA, TFLM
from export.engines.unplanned import without_plan
from qtorch.errors import BadModelFile
from qtorch.progress import stage

__all__ = ["Apart", "EngineRefused", "Limits", "Reset", "apart", "run_apart"]

#: What happens to variables before a run: they go on; they are as the engine's own ``reset`` leaves them, which does
#: not run CALL_ONCE again; or the interpreter is a new one.
Reset: TypeAlias = Literal["never", "reset", "anew"]


@dataclass(frozen=True)
class Limits:
    """What a process may take.

    Attributes:
        memory: bytes, beside what the engine's own packages take.
        seconds: for an answer: of a run, of loading a model, or of several runs that were quick so far.
    """

    memory: int = 2**31
    seconds: float = 60.0


class EngineRefused(BadModelFile):
    """An engine does not run a file: it refuses it, ends its process on it, or takes too much memory or time.

    Attributes:
        engine: its name in a sentence.
        kind: which of these.
        words: the sentence, without the file's name and the remedy.
    """

    def __init__(
        self,
        engine: str,
        kind: Literal["refuses", "ends", "memory", "time"],
        words: str,
        *,
        where: str = "model",
        remedy: str = "qtorch summary shows what is in the file; run what TFLite Micro's own kernels take",
    ) -> None:
        self.engine, self.kind, self.words = engine, kind, words
        super().__init__(where=where, expected=f"a file that {engine} runs", got=words, remedy=remedy)
        self.args = (f"{where}: {words}. Remedy: {remedy.rstrip('.')}.",)


AnEngine = TypeVar("AnEngine", bound=Engine)

#: How the process calls each engine, by what it runs: a copy of one that runs something else is none of these.
_HEADERS: dict[Any, tuple[str, dict[str, Any]]] = {
    TFLM.run: ("TFLite Micro", {"engine": "tflm", "arena": ARENA}),
    LITERT_REFERENCE.run: (
        "LiteRT", {"engine": "litert", "resolver": "BUILTIN_REF", "otherwise": WITHOUT_DELEGATES},
    ),
    LITERT_DEFAULT.run: ("LiteRT", {"engine": "litert", "resolver": "AUTO", "otherwise": WITHOUT_DELEGATES}),
}  # fmt: skip

#: Seconds of runs after which a process says how far it is.
_EACH = 1.0
#: Of what an engine prints, as much as is shown, and lines that say nothing of the file.
_SHOWN = 300
_NOISE = re.compile(r"INFO: |WARNING: |Traceback |^\s*File |^\s*$|TFLM failed to allocate tensors")


class Apart:
    """One model in one interpreter of an engine, in a process of its own.

    Args:
        engine: one that this project has; another's run can't be started apart.
        model: the file.
        preserve: keep all tensors, for :meth:`tensors`.
        limits: of the process.
        where: what to call the file in an error.

    Raises:
        EngineRefused: the engine does not load the file.
        ValueError: of an engine that is none of this project's.

    Attributes:
        shapes: of the inputs.
    """

    def __init__(
        self,
        engine: Engine,
        model: bytes,
        *,
        preserve: bool = False,
        limits: Limits = Limits(),
        where: str = "model",
    ) -> None:
        if engine.run not in _HEADERS:
            raise ValueError(f"{engine.name}: no engine that runs in a process of its own")
        called, header = _HEADERS[engine.run]
        self._process = Process(called, header["engine"], limits, where)
        self._fresh = True
        sent = without_plan(model) if preserve else model
        try:
            answer, _ = self._process.ask(
                {"do": "load", **header, "preserve": preserve}, [np.frombuffer(sent, np.uint8)]
            )
        except BaseException:
            self.close()
            raise
        self.shapes: tuple[tuple[int, ...], ...] = tuple(map(tuple, answer["shapes"]))

    def run(self, inputs: Sequence[np.ndarray], reset: Reset = "never") -> tuple[np.ndarray, ...]:
        """Outputs of as many runs as the inputs have samples, one after another in the same interpreter.

        Args:
            inputs: ``[runs * shape[0], *shape[1:]]`` of each input of the model.
            reset: what happens to variables before each run.

        Returns:
            ``[runs * shape[0], *shape[1:]]`` of each output.

        Raises:
            EngineRefused: a run fails.
        """
        parts = [arrays for _, arrays in self._chunks("run", inputs, reset)]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    def tensors(self, inputs: Sequence[np.ndarray], count: int, reset: Reset = "never") -> Iterator[list[np.ndarray]]:
        """The first ``count`` tensors of the file after each run; see :meth:`run`."""
        for runs, arrays in self._chunks("tensors", inputs, reset, count=count):
            for run in range(runs):
                yield arrays[run * count : (run + 1) * count]

    def _chunks(
        self, do: str, inputs: Sequence[np.ndarray], reset: Reset, **more: Any
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        rows = [shape[0] if shape else 1 for shape in self.shapes]
        runs = {len(array) // row if row else 0 for array, row in zip(inputs, rows, strict=True)}
        if len(runs) != 1 or 0 in runs:
            raise ValueError(f"inputs of {[array.shape for array in inputs]} for a model that takes {self.shapes}")
        total, start, together = runs.pop(), 0, 1
        with stage("inputs", total) as progress:
            while start < total:
                together = min(together, total - start)
                parts = [array[start * row : (start + together) * row] for array, row in zip(inputs, rows, strict=True)]
                begun = time.monotonic()
                header = {"do": do, "runs": together, "reset": reset, "fresh": self._fresh, **more}
                _, arrays = self._process.ask(header, parts)
                self._fresh = False
                yield together, arrays
                progress.advance(together)
                start += together
                # As many as take about a second, so that each answer has the whole limit of time.
                each = max(time.monotonic() - begun, 1e-4) / together
                together = max(1, min(2 * together, int(_EACH / each)) if do == "run" else min(16, int(_EACH / each)))

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Process:
    """A process that answers requests until one ends it; then the next request starts another.

    Args:
        called: the engine's name in sentences.
        engine: as the program calls it.
        limits: of memory, and of time for an answer.
        where: what to call the file in an error.
    """

    def __init__(self, called: str, engine: str, limits: Limits, where: str) -> None:
        self.called, self.engine, self.limits, self.where = called, engine, limits, where
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process

    def _started(self) -> subprocess.Popen[bytes]:
        program = Path(__file__).with_name("apart_process.py").read_text()
        # The same packages as here, and none that lies beside the program.
        start = f"import sys; sys.path[:] = {json.dumps(sys.path)}\n"
        code = f"{start}exec(compile({program!r}, 'apart_process.py', 'exec'))"
        return subprocess.Popen(
            [sys.executable, "-c", code, self.engine, str(self.limits.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )

    def ask(self, header: dict[str, Any], arrays: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The answer to a request.

        Raises:
            EngineRefused: the engine refuses, ends the process, or takes too much memory or time.
        """
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        before, late = self._said.seek(0, 2), threading.Event()

        def too_late() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self.limits.seconds, too_late)
        timer.start()
        try:
            write_message(process.stdin, {**header, "seconds": self.limits.seconds}, arrays)
            answer, results = read_message(process.stdout)
        except (EOFError, OSError):
            answer, results = None, []
        except BaseException:
            # Ctrl-C: nobody waits for the answer any more.
            self._stop()
            raise
        finally:
            timer.cancel()
        if answer is None:
            raise self._ended(process, late.is_set(), before)
        if "refused" in answer:
            raise self._refused(answer, before)
        return answer, results

    def _ended(self, process: subprocess.Popen[bytes], late: bool, before: int) -> EngineRefused:
        self._stop()
        code, seconds = process.returncode, self.limits.seconds
        if late or code == -getattr(signal, "SIGXCPU", 0):
            return self._refusal("time", f"{self.called} took longer than {seconds:g} s on this file")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = self._words(before)
        return self._refusal(
            "ends", f"{self.called} ends the process on this file ({how}){f': {said}' if said else ''}"
        )

    def _refused(self, answer: dict[str, Any], before: int) -> EngineRefused:
        if answer["memory"]:
            return self._refusal(
                "memory", f"{self.called} needs more than {self.limits.memory >> 20:,} MiB of memory for this file"
            )
        said = self._words(before) if self.engine == "tflm" else ""
        return self._refusal("refuses", f"{self.called} refuses this file: {said or _shortened(answer['refused'])}")

    def _refusal(self, kind: Literal["refuses", "ends", "memory", "time"], words: str) -> EngineRefused:
        return EngineRefused(self.called, kind, words, where=self.where)

    def _words(self, before: int) -> str:
        """The last lines that the engine printed."""
        self._said.seek(max(before, self._said.seek(0, 2) - 4096))
        lines = self._said.read().decode("utf-8", "backslashreplace").splitlines()
        return _shortened("; ".join([line.strip() for line in lines if not _NOISE.search(line)][-3:]))

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        self._process.wait()
        self._process = None

    def close(self) -> None:
        """End the process, if there is one."""
        self._stop()
        self._said.close()


def _shortened(words: str) -> str:
    line = " ".join(words.split()).rstrip(".")
    return "".join(c if c.isprintable() else "?" for c in line[:_SHOWN]) + ("..." if len(line) > _SHOWN else "")


def run_apart(
    engine: Engine,
    model: bytes,
    inputs: Sequence[np.ndarray],
    *,
    reset: Reset = "never",
    limits: Limits = Limits(),
    where: str = "model",
) -> tuple[np.ndarray, ...]:
    """Outputs of a model in an engine that runs in a process of its own.

    Args:
        engine: TFLite Micro, or one of LiteRT's.
        model: the file, whoever wrote it.
        inputs: ``[runs * shape[0], *shape[1:]]`` of each of its inputs; runs follow one another in one interpreter.
        reset: what happens to variables before each run.
        limits: of the process.
        where: what to call the file in an error.

    Returns:
        ``[runs * shape[0], *shape[1:]]`` of each output.

    Raises:
        EngineRefused: the engine refuses the file, ends the process on it, or takes too much memory or time.
    """
    with Apart(engine, model, limits=limits, where=where) as interpreter:
        return interpreter.run(inputs, reset)


def apart(
    engine: AnEngine,
    where: str = "model",
    limits: Limits = Limits(),
) -> AnEngine:
    """An engine that runs every file in a process of its own; one that is none of this project's as it is."""
    if engine.run not in _HEADERS:
        return engine
    changed: dict[str, Any] = {"run": partial(_run, engine, limits, where)}
    if isinstance(engine, InspectableEngine):
        changed["tensors"] = partial(_tensors, engine, limits, where)
    return replace(engine, **changed)


def _run(
    engine: Engine, limits: Limits, where: str, model: bytes, inputs: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    return run_apart(engine, model, inputs, limits=limits, where=where)


def _tensors(
    engine: Engine, limits: Limits, where: str, model: bytes, inputs: tuple[np.ndarray, ...], count: int
) -> Iterator[list[np.ndarray]]:
    with Apart(engine, model, preserve=True, limits=limits, where=where) as interpreter:
        yield from interpreter.tensors(inputs, count)
