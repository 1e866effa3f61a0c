"""A Python that has imported what the project's commands import, and forks for each: they begin at once.

To import PyTorch and Lightning anew takes longer than what most commands then do. A command runs in a process of its
own all the same, in its own folder, with its own arguments. What must not be shared, as other sources of the same
packages, or the seed of string hashes, wants a Python of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]


def warm_python(arguments: Sequence[str], folder: Path, seconds: int = 300) -> subprocess.CompletedProcess[str]:
    """What ``python arguments`` in ``folder`` says and returns; the packages are this repository's.

    Args:
        arguments: ``-m module``, ``-c code`` or a script's path, and what follows; ``-W ignore`` may stand before.
        folder: where it runs.
        seconds: after which it is ended.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as heard:
        paths = [Path(heard) / name for name in ("stdout", "stderr")]
        request = {"words": list(arguments), "folder": str(folder), "heard": list(map(str, paths)), "seconds": seconds}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, "the Python that forks has ended"
        return subprocess.CompletedProcess(list(arguments), int(answer), *(path.read_text() for path in paths))


@cache
def _server() -> subprocess.Popen[str]:
    """One for each process that runs tests; ends with it, when its standard input does."""
    command = [sys.executable, "-m", "tests.warm_python"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server: subprocess.Popen[str] = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)  # type: ignore
    atexit.register(server.communicate)
    return server


def _serve() -> int:
    """Fork for every request; in a child, the exit code of its command."""
    for module in ("export.__main__", "export.pipeline", "ai_edge_litert.interpreter", "tflite_micro"):
        # TFLite Micro is not everywhere.
        with contextlib.suppress(ImportError):
            import_module(module)
    # What a collection in a child looks through is copied into it.
    gc.collect()
    gc.freeze()
    # Not by lines that are read ahead: a child shares the file, and must not begin anew what others asked for.
    while line := sys.stdin.readline():
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _end(_run(request))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def _run(request: dict[str, Any]) -> int:
    signal.alarm(request["seconds"])
    os.chdir(request["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(request["heard"], 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    words = request["words"]
    if words[:2] == ["-W", "ignore"]:
        warnings.simplefilter("ignore")
        words = words[2:]
    try:
        if words[0] == "-m":
            module, sys.argv = words[1], words[1:]
            sys.path[0] = request["folder"]
            sys.modules.pop(f"{module}.__main__", None)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(words[1], {"__name__": "__main__"})
        else:
            sys.argv = words
            sys.path[0] = str(Path(words[0]).resolve().parent)
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        # As Python does: a message is an error, and goes to the standard error.
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """As Python ends, but that nothing is taken apart, which takes longer than what most commands do."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(_serve())
