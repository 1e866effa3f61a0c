"""``python -m export CHECKPOINT --out DIR``, ``python -m export verify MODEL.tflite [--against CHECKPOINT]``,
``python -m export sensitivity CHECKPOINT``: what each layer's quantization costs, ``python -m export summary
MODEL.tflite``: what stands in any file, ``python -m export profile MODEL.tflite``: what an inference takes, ``python -m
export compare CHECKPOINT``: what other engines and converters say, and ``python -m export support``: the table of what
can be exported.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import fx

from export.boards import BOARDS
from export.bundle import make_bundle
from export.bundle_folder import probe_export, temporary_files, write_bundle
from export.bundle_manifest import require_unchanged
from export.comparison import compare, first_figure
from export.engines import LITERT_REFERENCE, TFLM, tflm_absent, tflm_available
from export.folder_replacement import finish_interrupted
from export.inspection import read_model, summary
from export.integers import integer_graph
from export.interpret import interpret
from export.ir import Graph
from export.node_parity import node_parity
from export.opinion import as_json, comparison_table
from export.options import ExportOptions
from export.page import Line
from export.parity import compare_graphs, corner_codes, parity
from export.passes.float_interface import float_interface
from export.post_training import quantize_after_training
from export.profile_command import profile_command
from export.progress import told
from export.real_bundle import refusal
from export.report import agreement_table, outcome_page, written_page
from export.sensitivity import layer_costs, sensitivity_table
from export.stages import float_network, real_inputs
from export.stored_proof import require_stored_proof
from export.support import support_table
from export.terminal import show
from export.tflite_reader import read_tflite
from export.tflite_summary import summarize
from qtorch.errors import BadConfiguration, ParityError
from qtorch.lightning.boolean_options import TRUTHS, with_values
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.cli import run_command
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.task import Task

#: What ``--help`` says of the steps of quantization without training, and of the other commands.
_OTHERS = """other commands; all but the last have --help:
  python -m export verify MODEL.tflite [--against CHECKPOINT]   repeat the parity check of a file
  python -m export sensitivity CHECKPOINT                       what each layer's quantization costs
  python -m export summary MODEL.tflite                         what stands in a file
  python -m export profile MODEL.tflite                         what an inference takes
  python -m export compare CHECKPOINT                           what other engines and converters say
  python -m export support                                      what can be exported"""

_COMMANDS = ("verify", "sensitivity", "summary", "profile", "compare", "support")

_WITHOUT_TRAINING = {
    "post_training": "export the float network that quantized training started from, calibrated and not trained on",
    "equalize": "with it, or with a float format: even out the sizes of channels between layers",
    "correct_biases": "with it: take the mean error of each layer's outputs off its biases",
    "round_adaptively": "with it: choose for each weight whether it is rounded up or down (AdaRound)",
}

_RANDOM_INPUTS = 10_000
_FLOAT_INPUTS = 200


def _truth(word: str) -> bool:
    """What is said of a boolean option."""
    if word.lower() not in TRUTHS:
        raise argparse.ArgumentTypeError(f"expected true or false, got {word!r}")
    return TRUTHS[word.lower()]


#: An option that is true where it stands alone.
_BOOLEAN: dict[str, Any] = {"type": _truth, "nargs": "?", "const": True, "default": False, "metavar": "true|false"}


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """See :func:`~qtorch.lightning.boolean_options.with_values`."""
    booleans = {option for action in parser._actions if action.type is _truth for option in action.option_strings}
    return parser.parse_args(with_values(arguments, booleans))


def _export(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a trained checkpoint: model, parity, headers, figures.",
        epilog=_OTHERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="written by training; its classes are imported, so trust it")
    parser.add_argument("--out", type=_folder, required=True, help="folder for the artefacts")
    parser.add_argument("--name", help="name of the model and its files (default: the task's)")
    formats = ("int8", "float32", "float16", "dynamic_range")
    parser.add_argument("--export.format", dest="format", choices=formats, default="int8")
    for step, does in _WITHOUT_TRAINING.items():
        parser.add_argument(f"--export.{step}", dest=step, **_BOOLEAN, help=does)
    parser.add_argument("--export.io", dest="io", choices=("int8", "float32"), default="int8")
    parser.add_argument("--export.input_layout", dest="input_layout", choices=("nhwc", "nchw"), default="nhwc")
    parser.add_argument("--export.c", dest="c", **_BOOLEAN, help="also write plain C: NAME_model.{h,c}")
    parser.add_argument("--export.optimize", dest="optimize", choices=("size", "speed"), default="size")
    parser.add_argument("--export.strip", dest="strip", **_BOOLEAN, help="leave out NAME_named.tflite")
    parser.add_argument("--export.metadata", dest="metadata", **_BOOLEAN, help="say in the file what it is")
    parser.add_argument("--export.version", dest="version", default="", help="of the model, for the metadata")
    parser.add_argument(
        "--export.firmware", dest="firmware", type=Path, help="folder for a ready project for the target"
    )
    parser.add_argument("--export.target", dest="target", default="host", help=f"a board: {', '.join(BOARDS)}")
    parser.add_argument("--export.onnx", dest="onnx", **_BOOLEAN, help="also write ONNX: NAME.onnx")
    given = _parsed(parser, arguments)
    with suppress(OSError):
        finish_interrupted(given.checkpoint.parent)
    with told("opening the checkpoint"):
        run = load_run(given.checkpoint)
    options = ExportOptions(**{field.name: getattr(given, field.name) for field in fields(ExportOptions)})
    probe_export(given.out, options, given.name or run.task)
    with temporary_files():
        content = given.checkpoint.read_bytes()
        bundle = make_bundle(run, given.name or run.task, options, checkpoint=content, stage=told)
    write_bundle(bundle, given.out, options.firmware, given.checkpoint)
    show((*outcome_page(bundle), *written_page(bundle, given.out, options)))


def _folder(written: str) -> Path:
    """A path that says which."""
    if not written.strip():
        raise argparse.ArgumentTypeError("expected the name of a folder, got nothing")
    return Path(written)


def _require_command(word: str) -> None:
    """Refuse what is neither a command nor a file, but looks like a command.

    Raises:
        BadConfiguration: so it does; says like which.
    """
    alike = difflib.get_close_matches(word, _COMMANDS, 1)
    if alike and not Path(word).exists():
        raise BadConfiguration(
            where="python -m export",
            expected=f"a checkpoint, or one of {', '.join(_COMMANDS)}",
            got=repr(word),
            remedy=f"python -m export {alike[0]}",
        )


def _verify(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export verify", description="Repeat the parity check of a model file."
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--against", type=Path, help="a checkpoint whose every scale, weight and bias must be in it")
    given = _parsed(parser, arguments)
    model = read_model(given.model)
    graph = read_tflite(model, str(given.model))
    require_stored_proof(model, summarize(model, str(given.model)), str(given.model))
    unchanged = require_unchanged(given.model)
    if unchanged:
        show([Line(f"{given.model}: {unchanged} files are as the manifest beside it lists them")])
    if given.against is not None:
        _require_same(graph, load_run(given.against).module.net)  # type: ignore[arg-type]
        show([Line(f"{given.model}: every scale, zero point, weight and bias is the checkpoint's")])
    if graph.values[graph.inputs[0]].qparams is None:
        _verify_real(graph, model)
        return
    codes = corner_codes(graph, _RANDOM_INPUTS)
    found = parity(graph, model, codes)
    show([agreement_table(found.engines, found.judges, found.not_run), *_without_tflm()])


def _sensitivity(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export sensitivity",
        description="Quantize the float network of a checkpoint one layer at a time, calibrated and not trained, and "
        "print what each layer costs. To spare a layer, set --qat.layers in training, for example to "
        '{"NAME": {"activations": "int16"}} or {"NAME": {"skip": true}}.',
    )
    parser.add_argument("checkpoint", type=Path, help="written by training; its classes are imported, so trust it")
    parser.add_argument("--bits", type=int, choices=(8, 4), help="of the weights (default: the checkpoint's)")
    given = _parsed(parser, arguments)
    run = load_run(given.checkpoint)
    config = run.qat.config if given.bits is None else replace(run.qat.config, weight_bits=given.bits)
    inputs = real_inputs(run)
    calibration, tested = inputs["train"], inputs["test"]
    example: Any = run.module.example_input_array
    network = quantize_after_training(float_network(run), calibration, config, example=example)
    task, data = run.module, run.data
    if isinstance(task, Task) and isinstance(data, ArrayDataModule):
        x, target = data.arrays.test
        costs, columns = layer_costs(network, x, lambda output: task.metrics(x, output, target)), task.columns
    else:
        costs, columns = layer_costs(network, tested), ()
    show([sensitivity_table(costs, columns)])


def _compare(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export compare",
        description="Ask every engine and converter that is installed about a checkpoint: sizes, scales, outputs.",
    )
    parser.add_argument("checkpoint", type=Path, help="written by training; its classes are imported, so trust it")
    parser.add_argument("--only", nargs="+", default=(), help="names of the lines to print (default: all)")
    parser.add_argument("--json", **_BOOLEAN, help="for machines")
    given = _parsed(parser, arguments)
    opinions = compare(run := load_run(given.checkpoint), given.only)
    if given.json:
        print(json.dumps(as_json(opinions), indent=2))
    else:
        show([comparison_table(opinions, first_figure(run))])


def _verify_real(graph: Graph, model: bytes) -> None:
    """A model with float32 inputs: node by node where it computes in float, else its outputs, exactly."""
    readers = {name: node for node in graph.nodes for name in node.inputs if name in graph.inputs}
    if graph.has_real_nodes and any(node.op != "quantize" for node in readers.values()):
        rng = np.random.default_rng(0)
        drawn = tuple(rng.normal(size=(_FLOAT_INPUTS, *graph.values[n].shape[1:])).astype("f4") for n in graph.inputs)
        _verify_nodes(graph, model, drawn)
        return
    behind = tuple(readers[name].output for name in graph.inputs)
    codes = corner_codes(replace(graph, inputs=behind), _RANDOM_INPUTS)
    inputs = []
    for name, array in zip(behind, codes, strict=True):
        qparams = graph.values[name].qparams
        assert qparams is not None
        inputs.append(qparams.dequantize(array))
    if graph.has_real_nodes:
        _verify_nodes(graph, model, tuple(inputs))
        return
    if not tflm_available():
        # Node by node, because some of its kernels may differ from their reference by what their rows declare.
        _verify_nodes(graph, model, tuple(inputs))
        return
    expected = interpret(graph, tuple(inputs))
    got = TFLM.run(model, tuple(inputs))
    wrong = sum(int((g != expected[name]).sum()) for g, name in zip(got, graph.outputs, strict=True))
    if wrong:
        raise ParityError(
            f"{TFLM.name} differs from the integer reference on {wrong} outputs of {len(inputs[0])} inputs"
        )
    show([Line(f"{TFLM.name}: {len(inputs[0]):,} float32 inputs, all exact")])


def _without_tflm() -> list[Line]:
    """Who judged where TFLite Micro does not run; nothing where it does."""
    absent = tflm_absent()
    if not absent:
        return []
    return [Line(f"{absent}: LiteRT's reference kernels judged, against single rounding", "attention")]


def _verify_nodes(graph: Graph, model: bytes, inputs: tuple[np.ndarray, ...]) -> None:
    """In LiteRT, and in TFLite Micro if it has the kernels."""
    engines = [LITERT_REFERENCE]
    if tflm_available() and not refusal(model, inputs):
        engines.append(TFLM)
    for engine in engines:
        found = node_parity(graph, model, inputs, engine)
        said = (
            f"{found.inputs:,} inputs, {found.integer_outputs:,} integers exact, {found.float_outputs:,} float results"
        )
        show([Line(f"{engine.name}: {said} as their layers' functions")])
    show(_without_tflm())


def _require_same(found: Graph, network: fx.GraphModule) -> None:
    """Either way of storing the inputs is the checkpoint's."""
    results = []
    layouts: tuple[Literal["nhwc", "nchw"], ...] = ("nhwc", "nchw")
    for input_layout in layouts:
        expected = integer_graph(network, input_layout)
        if found.values[found.inputs[0]].qparams is None:
            expected = float_interface(expected)
        results.append(compare_graphs(expected, found).first)
    if all(results):
        raise ParityError(f"the file is not the checkpoint's: first difference {results[0]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 2 for bad input, 1 for failed parity."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["support"]:
        return run_command(lambda: print(support_table()))
    if given[:1] == ["profile"]:
        return run_command(lambda: profile_command(given[1:]))
    if given[:1] == ["summary"]:
        return run_command(lambda: summary(given[1:]))
    if given[:1] == ["sensitivity"]:
        return run_command(lambda: _sensitivity(given[1:]))
    if given[:1] == ["compare"]:
        return run_command(lambda: _compare(given[1:]))
    if given[:1] == ["verify"]:
        return run_command(lambda: _verify(given[1:]))

    def export() -> None:
        for word in given[:1]:
            _require_command(word)
        _export(given)

    return run_command(export)


if __name__ == "__main__":
    sys.exit(main())
