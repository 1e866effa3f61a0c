"""``python -m tests.mutation [WORDS ...]``: each fault of :mod:`tests.mutants`, and whether its tests catch it.

The tree is copied to a temporary folder, and only there is anything changed. A Python that has imported PyTorch and
Lightning forks for every fault, so that most take as long as their tests. Where a selection fails without a fault,
nothing that it says of faults counts: that is an error. Exit code 1 where a fault survives, or one is caught that is
said to be none.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import count
from pathlib import Path

from tests.mutant import Mutant
from tests.mutants import MUTANTS

__all__ = ["mutated", "run", "survivors"]

ROOT = Path(__file__).parents[1]
#: After which a fault counts as caught: a loop that does not end is no result.
SECONDS = 180
#: Large, and imported by nearly every test; the project's own packages are imported from the copy.
_HEAVY = ("torch", "pytorch_lightning", "jsonargparse", "ai_edge_litert.interpreter", "tflite_micro", "pytest")
_SECONDS_OF_CHANGE = count(int(time.time()))
_OWN = ("qtorch", "export", "recipes", "firmware", "benchmarks", "docs", "tests")


def copied(target: Path) -> Path:
    """The tree without what git or Python keep for themselves, in ``target``."""
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT, target, ignore=unwanted)
    return target


def mutated(text: str, mutant: Mutant) -> str:
    """A file's text with the fault.

    Raises:
        ValueError: what is to be replaced does not stand there once.
    """
    times = text.count(mutant.old)
    if times != 1:
        raise ValueError(f"{mutant.file}: expected {mutant.old!r} once, got it {times} times")
    return text.replace(mutant.old, mutant.new)


def _write(path: Path, text: str) -> None:
    """Text of a file that Python has never compiled: it knows files by their second of change."""
    path.write_text(text)
    second = next(_SECONDS_OF_CHANGE)
    os.utime(path, (second, second))


def run(tests: Sequence[str], tree: Path, said: Path) -> int:
    """The exit code of pytest in ``tree``, in a process of its own; its words go to the file ``said``."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = _pytest(tests, tree, said)
        except BaseException:
            traceback.print_exc()
        finally:
            # Whatever happened, the parent's folder is the parent's to remove.
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _pytest(tests: Sequence[str], tree: Path, said: Path) -> int:
    signal.alarm(SECONDS)
    stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(stream, number)
    os.chdir(tree)
    # Modules that were imported before know nothing of the fault.
    for name in [name for name in sys.modules if name.split(".")[0] in _OWN]:
        del sys.modules[name]
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)
    # Plugins of pytest that the imports above have brought along.
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(import_module("pytest").main([*options, *tests]))


def survivors(mutants: Sequence[Mutant], tree: Path, report: Callable[[str], None]) -> list[Mutant]:
    """Faults that no test caught, and what was caught although it is said to be no fault.

    Args:
        mutants: to try.
        tree: a copy, which is left as it was.
        report: takes a line for each.

    Raises:
        RuntimeError: tests fail without a fault, or there are none.
    """
    said, wrong, sound = tree.parent / "said.txt", [], set[tuple[str, ...]]()
    for mutant in mutants:
        if mutant.tests not in sound:
            code = run(mutant.tests, tree, said)
            if code:
                raise RuntimeError(f"{' '.join(mutant.tests)}: exit code {code} without a fault\n{said.read_text()}")
            sound.add(mutant.tests)
        started, path = time.perf_counter(), tree / mutant.file
        text = path.read_text()
        _write(path, mutated(text, mutant))
        try:
            caught = run(mutant.tests, tree, said) != 0
        finally:
            _write(path, text)
        expected = not mutant.equivalent
        if caught is not expected:
            wrong.append(mutant)
        word = ("caught" if caught else "SURVIVED") if expected else ("CAUGHT" if caught else "equivalent")
        took = time.perf_counter() - started
        report(f"{word:10} {took:5.1f} s  {mutant.file}: {mutant.old!r} -> {mutant.new!r}  {mutant.equivalent}")
    return wrong


def main(words: Sequence[str] | None = None) -> int:
    """Try the faults whose file or text has one of the words; all if none is given."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("words", nargs="*", help="of files or of what is replaced; all faults if none is given")
    given = parser.parse_args(words).words
    chosen = [m for m in MUTANTS if not given or any(word in f"{m.file} {m.old} -> {m.new}" for word in given)]
    os.environ["OMP_NUM_THREADS"] = "1"
    for module in _HEAVY:
        with contextlib.suppress(ImportError):
            import_module(module)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        wrong = survivors(chosen, copied(Path(folder) / "tree"), lambda line: print(line, flush=True))
    print(f"{len(chosen)} faults in {time.perf_counter() - started:.0f} s, {len(wrong)} not as expected")
    for mutant in wrong:
        print(f"  {mutant.file}: {mutant.old!r} -> {mutant.new!r}, tried with {' '.join(mutant.tests)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
