"""Operators of TFLite Micro's own that keep samples between runs, in files that the schema's own classes wrote: TFLite
Micro is the judge, run after run, and the C is what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from export.c.compiled import c_compiler, run_c
from export.c.model import c_model
from export.compiled_file.model_in_file import model_in_file
from export.graph.interpret import interpret, interpret_sequence
from export.graph.passes.foreign.simplified import simplified
from export.parity.foreign import judged_by_tflm
from export.tflite.custom_options import written_options
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile
from tests.schema_file import SchemaFile

RUNS = 40


def signal(name: str, shape: Sequence[int], made: Sequence[int], valid: bool = False, **options: int) -> bytes:
    """One operator of the signal library, of int16 without a scale."""
    file = SchemaFile()
    x, y = file.tensor(shape, "int16", end="input"), file.tensor(made, "int16", end="output")
    outputs = [y, *([file.tensor((), "bool")] if valid else [])]
    file.operator(f"CUSTOM:Signal{name}", [x], outputs, custom=written_options(options))
    return file.written()


def there_and_back(spectrum: bool = False) -> bytes:
    """Frames of samples, a window on each, and the samples again: what noise suppression begins and ends with.

    Args:
        spectrum: by way of the frames' spectra, which it changes.
    """
    file = SchemaFile()
    x = file.tensor((32,), "int16", end="input")
    frames, windowed = (file.tensor((4, 24), "int16") for _ in range(2))
    framing = written_options({"frame_size": 24, "frame_step": 8, "prefill": True})
    file.operator("CUSTOM:SignalFramer", [x], [frames, file.tensor((), "bool")], custom=framing)
    window = file.constant((9000 * np.sin(np.pi * (np.arange(24) + 0.5) / 24)).astype(np.int16))
    file.operator("CUSTOM:SignalWindow", [frames, window], [windowed], custom=written_options({"shift": 12}))
    if spectrum:
        transform = written_options({"T": 7, "fft_length": 24})
        source, parts, windowed = windowed, file.tensor((4, 26), "int16"), file.tensor((4, 24), "int16")
        file.operator("CUSTOM:SignalRfft", [source], [parts], custom=transform)
        file.operator("CUSTOM:SignalIrfft", [parts], [windowed], custom=transform)
    y = file.tensor((32,), "int16")
    file.operator("CUSTOM:SignalOverlapAdd", [windowed], [y], custom=written_options({"T": 7, "frame_step": 8}))
    z = file.tensor((32,), "int16", end="output")
    file.operator("CUSTOM:SignalDelay", [y], [z], custom=written_options({"delay_length": 5}))
    return file.written()


def buffered(cycles: int = 1, *, variable: bool = True, zero_point: int = -7) -> bytes:
    """A convolution along time, one step in a run."""
    rng, file = np.random.default_rng(3), SchemaFile()
    x = file.tensor((1, 1, 2, 3), "int8", 0.05, zero_point, end="input")
    rows = file.tensor((1, 4, 2, 3), "int8", 0.05, zero_point)
    file.graph.tensors[rows].isVariable = variable
    file.operator("CUSTOM:CIRCULAR_BUFFER", [x], [rows], custom=written_options({"cycles_max": cycles}))
    weight = file.constant(rng.integers(-127, 128, (5, 4, 2, 3)).astype(np.int8), 0.01)
    bias = file.constant(rng.integers(-999, 999, 5).astype(np.int32), 0.0005)
    y = file.tensor((1, 1, 1, 5), "int8", 0.1, 4, end="output")
    strides = {"padding": 1, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    file.operator("CONV_2D", [rows, weight, bias], [y], "Conv2DOptions", strides, 3)
    return file.written()


FILES: dict[str, Callable[[], bytes]] = {
    "a delay": lambda: signal("Delay", (6,), (6,), delay_length=4),
    "a delay of more than a run": lambda: signal("Delay", (2, 4), (2, 4), delay_length=11),
    "no delay": lambda: signal("Delay", (6,), (6,), delay_length=0),
    "a frame": lambda: signal("Framer", (4,), (1, 10), True, frame_size=10, frame_step=4, prefill=True),
    "frames of two channels": lambda: signal(
        "Framer", (2, 9), (2, 3, 7), True, frame_size=7, frame_step=3, prefill=True
    ),
    "frames side by side": lambda: signal("Framer", (8,), (2, 4), True, frame_size=4, frame_step=4, prefill=False),
    "sums": lambda: signal("OverlapAdd", (3, 8), (9,), T=7, frame_step=3),
    "sums of one frame": lambda: signal("OverlapAdd", (1, 8), (2,), T=7, frame_step=2),
    "sums of two channels": lambda: signal("OverlapAdd", (2, 2, 5), (2, 4), T=7, frame_step=2),
    "no sums": lambda: signal("OverlapAdd", (3, 4), (12,), T=7, frame_step=4),
    "there and back": there_and_back,
    "by way of the spectrum": lambda: there_and_back(spectrum=True),
    "rows": buffered,
}


def runs(model: bytes) -> np.ndarray:
    graph = read_tflite(model, aligned=False)
    (name,) = graph.inputs
    value, rng = graph.values[name], np.random.default_rng(1)
    limits = np.iinfo(value.dtype)
    codes = rng.integers(limits.min, limits.max + 1, (RUNS * value.shape[0], *value.shape[1:]))
    return codes.astype(value.dtype)


@pytest.mark.tflm
@pytest.mark.parametrize("name", FILES)
def test_what_is_kept_is_what_tflite_micro_keeps(name: str) -> None:
    model = FILES[name]()
    codes = runs(model)
    judged = judged_by_tflm(model, read_tflite(model, aligned=False), (codes,))
    assert judged.samples == RUNS
    again = write_tflite(simplified(read_tflite(model, aligned=False)))
    judged_by_tflm(again, read_tflite(again), (codes,))


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler")
@pytest.mark.tflm
@pytest.mark.parametrize("name", ["a delay", "frames of two channels", "by way of the spectrum", "rows"])
def test_the_c_keeps_it_between_runs(name: str) -> None:
    model = FILES[name]()
    core, codes = simplified(model_in_file(model, "m").core), runs(model)
    (output,) = core.outputs
    expected = interpret_sequence(core, (codes,))[output]
    assert np.array_equal(run_c("m", c_model("m", core).files, core, (codes,))[0], expected)
    assert not np.array_equal(interpret(core, (codes,))[output], expected)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (signal("Framer", (4,), (1, 10), True, frame_size=10, frame_step=4, prefill=False), "expected prefill"),
        (signal("Framer", (4,), (2, 3), True, frame_size=3, frame_step=4, prefill=True), "no shorter than their step"),
        (signal("Framer", (5,), (1, 6), True, frame_size=6, frame_step=4, prefill=True), "whole number of steps of 4"),
        (signal("Framer", (4,), (1, 6), frame_size=6, frame_step=4, prefill=True), "1 input and 2 outputs, got 1"),
        (signal("Framer", (4,), (1, 7), True, frame_size=6, frame_step=4, prefill=True), r"an output of \(1, 6\)"),
        (signal("Delay", (4,), (4,), delay_length=-1), "a delay_length of 0 or more"),
        (signal("Delay", (4,), (5,), delay_length=1), r"an output of \(4,\)"),
        (signal("OverlapAdd", (3, 8), (9,), T=0, frame_step=3), "frames of int16, got type 0"),
        (signal("OverlapAdd", (3, 8), (9,), T=7, frame_step=9), "a frame_step from 1 to 8"),
        (signal("OverlapAdd", (3, 8), (8,), T=7, frame_step=3), r"an output of \(9,\)"),
        (signal("OverlapAdd", (8,), (8,), T=7, frame_step=3), "frames of samples"),
        (signal("Framer", (300,), (300, 6), True, frame_size=6, frame_step=1, prefill=True), "at most 256 frames"),
        (signal("OverlapAdd", (300, 6), (300,), T=7, frame_step=1), "at most 256 frames in a run, got 300"),
        (signal("Delay", (2**10, 4), (2**10, 4), delay_length=2**19), "at most 16777216 numbers, got 536870912"),
        (buffered(2), "expected cycles_max 1"),
        (buffered(variable=False), "a variable tensor as its output"),
    ],
)  # fmt: skip
def test_what_can_not_be_told_of_the_inputs_alone_is_refused_by_name(model: bytes, words: str) -> None:
    with pytest.raises(BadModelFile, match=words):
        read_tflite(model, aligned=False)
