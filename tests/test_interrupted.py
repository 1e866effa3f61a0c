"""Ctrl-C: a command ends at once with a shell's 130, says so in a word, and leaves nothing half-written behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.schema_file import SchemaFile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro")

#: The command, that says when it comes to a function, which takes a while longer.
_PROGRAM = """\
import signal, sys, time
from importlib import import_module
from export.command_line import main
# A shell's job in the background passes on that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
module, _, name = sys.argv.pop(1).rpartition(".")
def telling(function):
    def told(*arguments, **options):
        print("begun", file=sys.stderr, flush=True)
        result = function(*arguments, **options)
        time.sleep(0.3)
        return result
    return told
if module:
    module = import_module(module)
    setattr(module, name, telling(getattr(module, name)))
else:
    print("begun", file=sys.stderr, flush=True)
sys.exit(main())
"""
_COMPILED, _COMMAND = "export.compiled_file.compiled", "export.commands.compile"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = SchemaFile()
    x = file.tensor([1, 64], "int8", 0.1, 1, name="x", end="input")
    matrix = file.constant(np.random.default_rng(0).integers(-127, 128, (64, 64)).astype(np.int8), 0.02)
    y = file.tensor([1, 64], "int8", 0.2, 0, name="y", end="output")
    file.operator("FULLY_CONNECTED", [x, matrix, -1], [y], "FullyConnectedOptions", version=4)
    path = tmp_path_factory.mktemp("model") / "m.tflite"
    path.write_bytes(file.written())
    return path


def has_ended(group: int) -> bool:
    """Whether no process of a group is left, after some time at most."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    "moment",
    ["", f"{_COMMAND}.read_model", *(f"{_COMPILED}.{name}" for name in ("judged_file", "compiled_c", "_tflm_form"))],
)
def test_an_interrupted_compilation_leaves_nothing(moment: str, model: Path, tmp_path: Path) -> None:
    """The signal goes to all of its processes, as a terminal sends it."""
    here = tmp_path / "here"
    here.mkdir()
    words = ["compile", model, "--out", here / "out", "--samples", "10000", "--target", "nano33ble", "--tflite"]
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, moment, *map(str, words)],
        env={**os.environ, "TMPDIR": str(here), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert program.stdout is not None
    said = []
    for line in program.stdout:
        said.append(line)
        if line.strip() == "begun":
            # A moment later it is in the midst of it.
            time.sleep(0.1)
            os.killpg(program.pid, signal.SIGINT)
            break
    said += program.stdout.readlines()
    program.stdout.close()
    assert program.wait(60) in (130, -signal.SIGINT), "".join(said)
    assert "Traceback" not in "".join(said)
    assert said[-1].strip() == "interrupted"
    assert has_ended(program.pid)
    # What is built once for all runs may stay.
    assert not [path for path in here.iterdir() if not path.name.startswith(("torchinductor", "qemu-counter"))]
