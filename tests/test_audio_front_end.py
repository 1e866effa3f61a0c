"""An audio front end in TFLite Micro's own operators: samples of int16 in, features out, with an estimate of the noise
that lives from one run to the next. TFLite Micro is the judge, on files that the schema's own classes wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from export.c.compiled import c_compiler, run_c
from export.c.model import c_model
from export.compiled_file.model_in_file import model_in_file
from export.graph.interpret import interpret, interpret_sequence
from export.graph.ir import Graph
from export.graph.passes.foreign.simplified import simplified
from export.parity.foreign import judged_by_tflm
from export.tflite.custom_options import custom_options, written_options
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile
from tests.schema_file import SchemaFile

_SUBTRACTION = {
    "alternate_one_minus_smoothing": 15401, "alternate_smoothing": 983, "clamping": False, "min_signal_remaining": 819,
    "one_minus_smoothing": 15975, "smoothing": 409, "smoothing_bits": 10, "spectral_subtraction_bits": 14,
}  # fmt: skip


@dataclass(frozen=True)
class FrontEnd:
    """Sizes and options of a whole front end, as keyword spotting has it."""

    window: int = 60
    length: int = 64
    first: int = 3
    behind: int = 29
    channels: int = 6
    shift: int = 12
    subtraction: Mapping[str, int] | None = None
    snr_shift: int = 6
    log: tuple[int, int] = (3, 64)
    cut: tuple[int, int] | None = None
    seed: int = 0

    def written(self) -> bytes:
        """The file: the energies outside of some frequencies are cut off, and zeros put in their place."""
        rng, file, bins = np.random.default_rng(self.seed), SchemaFile(), self.length // 2 + 1
        begin, end = self.cut or (self.first, self.behind)

        def put(name: str, inputs: list[int], *outputs: int, **options: int) -> int:
            file.operator(f"CUSTOM:Signal{name}", inputs, outputs, custom=_flexbuffer(options))
            return outputs[0]

        def cast(source: int, dtype: str, size: int, end: str = "") -> int:
            made = file.tensor((size,), dtype, end=end)
            file.operator("CAST", [source], [made], "CastOptions")
            return made

        def table(numbers: np.ndarray) -> int:
            return file.constant(numbers.astype(np.int16))

        at = file.tensor((1, self.window), "int16", end="input")
        hann = table(4096 * np.sin(np.pi * (np.arange(self.window) + 0.5) / self.window) ** 2)
        at = put("Window", [at, hann], file.tensor((1, self.window), "int16"), shift=self.shift)
        flat = file.tensor((self.window,), "int16")
        file.operator("RESHAPE", [at, file.constant(np.array([self.window], np.int32))], [flat], "ReshapeOptions")
        shifts = file.tensor((), "int32")
        at = put("FftAutoScale", [flat], file.tensor((self.window,), "int16"), shifts)
        at = put("Rfft", [at], file.tensor((2 * bins,), "int16"), T=7, fft_length=self.length)
        at = put("Energy", [at], file.tensor((bins,), "uint32"), end_index=self.behind, start_index=self.first)
        at = cast(at, "int32", bins)
        cut = file.tensor((end - begin,), "int32")
        ends = [file.constant(np.array([each], np.int32)) for each in (begin, end, 1)]
        file.operator("STRIDED_SLICE", [at, *ends], [cut], "StridedSliceOptions")
        zeros = [file.constant(np.zeros(n, np.int32)) for n in (begin, bins - end)]
        at = file.tensor((bins,), "int32")
        file.operator("CONCATENATION", [zeros[0], cut, zeros[1]], [at], "ConcatenationOptions")
        at = cast(at, "uint32", bins)
        widths = np.r_[2, rng.integers(1, 9, self.channels)]
        weights = rng.integers(0, 4097, widths.sum())
        starts = [rng.integers(begin, end - n + 1) for n in widths]
        tables = [weights, 4096 - weights, np.array(starts), np.r_[0, np.cumsum(widths)[:-1]], widths]
        size, count = (self.channels,), self.channels
        at = put("FilterBank", [at, *map(table, tables)], file.tensor(size, "uint64"), num_channels=count)
        at = put("FilterBankSquareRoot", [at, shifts], file.tensor(size, "uint32"))
        noise, options = file.tensor(size, "uint32"), {**_SUBTRACTION, **(self.subtraction or {})}
        at = put(
            "FilterBankSpectralSubtraction", [at], file.tensor(size, "uint32"), noise, num_channels=count, **options
        )
        gains = table(np.r_[32636, 32633, 32630, np.linspace(32000, 60, 122)])
        at = put("PCAN", [at, noise, gains], file.tensor(size, "uint32"), snr_shift=self.snr_shift)
        bits, scale = self.log
        made = file.tensor(size, "int16")
        at = put("FilterBankLog", [at], made, input_correction_bits=bits, output_scale=scale)
        at = cast(at, "int32", count)
        for name, number in (("MUL", 256), ("ADD", 333), ("DIV", 666), ("ADD", -128), ("MINIMUM", 127)):
            made = file.tensor(size, "int32")
            table_of = "MaximumMinimumOptions" if name == "MINIMUM" else f"{name.capitalize()}Options"
            file.operator(name, [at, file.constant(np.array(number, np.int32))], [made], table_of)
            at = made
        cast(at, "int8", count, end="output")
        return file.written()


def _flexbuffer(options: Mapping[str, int]) -> bytes:
    """By the package of flatbuffers, whose reader knows all of it."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in sorted(options.items()):
            builder.Key(name)
            (builder.Bool if isinstance(value, bool) else builder.Int)(value)
    return bytes(builder.Finish())


def audio(window: int, runs: int = 48) -> np.ndarray:
    """Silence, noise of every loudness, tones, square waves at the limits, -32768 throughout."""
    rng, time = np.random.default_rng(1), np.arange(runs * window).reshape(runs, window)
    found = rng.integers(-(2**15), 2**15, (runs, window)) >> rng.integers(0, 16, (runs, 1))
    found[:4] = 0
    found[10:14] = 20000 * np.sin(time[10:14] / 3)
    found[20:23] = np.where(time[20:23] // 5 % 2, 2**15 - 1, -(2**15))
    found[30] = -(2**15)
    return found.astype(np.int16)


_DRAWN = {
    "as in keyword spotting": FrontEnd(480, 512, 5, 241, 40),
    "short": FrontEnd(),
    "odd pairs": FrontEnd(40, 50, 1, 20, 4, seed=2),
    "threes and fives": FrontEnd(100, 120, 4, 50, 5, seed=3),
    "clamped": FrontEnd(subtraction={"clamping": True, "smoothing_bits": 4, "smoothing": 3000}, seed=4),
    "other shifts": FrontEnd(shift=9, snr_shift=2, log=(0, 200), seed=5),
}


@pytest.mark.tflm
@pytest.mark.parametrize("name", _DRAWN)
def test_a_front_end_is_what_tflite_micro_computes_run_after_run(name: str) -> None:
    front_end = _DRAWN[name]
    model, samples = front_end.written(), (audio(front_end.window),)
    graph = read_tflite(model, aligned=False)
    judged = judged_by_tflm(model, graph, samples)
    assert (judged.samples, judged.outputs) == (48, 48 * front_end.channels)
    fewer = simplified(graph)
    assert sum(node.op == "reshape" for node in fewer.nodes) < 8
    again = write_tflite(fewer)
    judged_by_tflm(again, read_tflite(again), samples)


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler")
@pytest.mark.tflm
def test_its_c_keeps_the_noise_between_runs() -> None:
    front_end = _DRAWN["as in keyword spotting"]
    core: Graph = simplified(model_in_file(front_end.written(), "front_end").core)
    samples = (audio(front_end.window),)
    (name,) = core.outputs
    expected = interpret_sequence(core, samples)[name]
    assert np.array_equal(run_c("front_end", c_model("front_end", core).files, core, samples)[0], expected)
    assert not np.array_equal(interpret(core, samples)[name], expected)


def test_energies_that_the_kernel_does_not_write_are_read_by_nobody() -> None:
    read_tflite(replace(FrontEnd(), cut=(4, 29)).written(), aligned=False)
    for cut in ((2, 29), (3, 30)):
        with pytest.raises(BadModelFile, match=r"operator 6 \(STRIDED_SLICE\) reads energies outside of 3 to 28"):
            read_tflite(replace(FrontEnd(), cut=cut).written(), aligned=False)


def test_a_filter_bank_that_reads_beyond_its_energies_is_refused() -> None:
    written = FrontEnd(channels=1, seed=7).written()
    read_tflite(written, aligned=False)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(written))
    bank = next(each for each in model.subgraphs[0].operators if len(each.inputs) == 6)
    starts = model.buffers[model.subgraphs[0].tensors[bank.inputs[3]].buffer]
    starts.data = np.array([0, 33], np.int16).view(np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(BadModelFile, match=r"SignalFilterBank.*channel 1: expected \d+ bins of 33"):
        read_tflite(bytes(builder.Output()), aligned=False)


def _spectrum(custom: bytes, dtype: str = "int16", length: int = 64) -> bytes:
    file = SchemaFile()
    source, made = file.tensor((length,), dtype, end="input"), file.tensor((length + 2,), dtype, end="output")
    file.operator("CUSTOM:SignalRfft", [source], [made], custom=custom)
    return file.written()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_spectrum(_flexbuffer({"T": 2, "fft_length": 64}), "int32"), "expected int16 per tensor"),
        (_spectrum(_flexbuffer({"T": 2, "fft_length": 64})), "expected a transform of int16, got one of int32"),
        (_spectrum(_flexbuffer({"T": 7, "fft_length": 14}), length=14), "factors up to 5.*a multiple of 7"),
        (_spectrum(_flexbuffer({"T": 7, "fft_length": 63}), length=63), "an even fft_length"),
        (_spectrum(_flexbuffer({"T": 7, "fft_length": 32})), "at most 32 numbers"),
        (_spectrum(_flexbuffer({"T": 7, "fft_length": 128})), "expected outputs of .*130.*, got .*66"),
        (_spectrum(_flexbuffer({"T": 7})), "options T: expected T, fft_length"),
        (_spectrum(b""), "0 bytes of options: expected a map of numbers"),
    ],
)  # fmt: skip
def test_what_the_kernel_has_no_such_form_of_is_refused_by_name(model: bytes, words: str) -> None:
    with pytest.raises(BadModelFile, match=words):
        read_tflite(model, aligned=False)


def test_options_are_read_as_another_writer_wrote_them_and_the_other_way_round() -> None:
    rng = np.random.default_rng(0)
    for count in range(1, 12):
        numbers = rng.integers(-(2**31), 2**31, count) >> rng.integers(0, 31, count)
        options = {f"option_{i:02d}": int(number) for i, number in enumerate(numbers)} | {"with_bool": True}
        assert custom_options(_flexbuffer(options), tuple(options)) == options
        assert flexbuffers.Loads(written_options(options)) == options


def test_damaged_options_are_refused_with_a_sentence() -> None:
    rng, refused = np.random.default_rng(0), 0
    names = tuple(sorted({**_SUBTRACTION, "num_channels": 6}))
    whole = _flexbuffer({**_SUBTRACTION, "num_channels": 6})
    for _ in range(4000):
        data = bytearray(whole[: int(rng.integers(len(whole) + 1))] if rng.random() < 0.3 else whole)
        for at in rng.integers(0, max(1, len(data)), rng.integers(1, 4)).tolist() if data else ():
            data[at] = int(rng.integers(256))
        said = _said_of(bytes(data), names)
        assert not said or re.search("option|bytes", said)
        refused += bool(said)
    assert refused > 2000


def _said_of(data: bytes, names: tuple[str, ...]) -> str:
    """Why these are no such options; nothing if they are."""
    try:
        assert tuple(custom_options(data, names)) == names
    except ValueError as error:
        return str(error)
    return ""
