"""``python -m export compile MODEL.tflite --target BOARD --out DIR``: plain C of anybody's file, proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from export.boards import BOARDS, Board, board
from export.bundle.folder import probe_folders, temporary_files, write_bundle
from export.c_language.names import c_identifier
from export.calls.terms import in_options_of
from export.command_line.reader import FOLDER, POSITIONAL, POSITIVE, read_options
from export.commands.compile_page import compile_page
from export.commands.summary import read_model
from export.compiled_file.compiled import compile_file
from export.compiled_file.request import Request
from export.console.page import Line, printable
from export.console.terminal import show
from export.float_networks.data_file import data_in
from export.tflite.contents import read_contents
from export.tflite.entries import taken
from export.tflite.file_form import file_form
from qtorch.editions.known import edition
from qtorch.errors import BadConfiguration
from qtorch.progress import in_lines

__all__ = ["CompileOptions", "compile_command"]


@dataclass(frozen=True)
class CompileOptions:
    """Plain C of any integer .tflite file, whoever wrote it, proven against TFLite Micro; nothing is written of one
    that it computes otherwise.

    Example:
        qtorch compile model.tflite --target nano33ble --out build/model
        qtorch compile model.tflite --target uno --out build/model --firmware c
        qtorch compile model.tflite --out build/model --inputs recorded.npy --tflite
        qtorch compile float_model.tflite --out build/model --data recorded.npy

    Attributes:
        model: any .tflite file of integers; with ``--data`` one of floats.
        out: folder for the files.
        target: the board that has to hold it; ``host`` stands for any processor.
        inputs: a file of inputs to compare on, beside those that are drawn; .npy, or .npz with an array for each input
            by its name; integers are codes, floats are real values.
        data: of a file of floats, which is quantized first: inputs like those of training, real values, in .npy, .npz,
            .pt or .csv.
        signature: which network, of a file that has several signatures; the first without it.
        name: of the model and its files; the file's own name without it.
        optimize: what for; ``balanced`` takes a tenth more flash than ``size``, ``speed`` any, ``ram`` least memory,
            row by row.
        flash: bytes that the C may take; without it what the board has.
        fast_memory: bytes that it may take of the faster of two memories.
        firmware: also a ready project, in DIR/firmware; what it runs, TFLite Micro or the plain C.
        tflite: also write the file again, NAME.tflite; aligned, without names, its constants inside.
        tflm: the edition of TFLite Micro that is on the board, as ``docs/which_tflm.md`` lists them.
        samples: how many inputs are drawn; as many as take some seconds without it.
    """

    model: Annotated[Path, POSITIONAL]
    out: Annotated[Path, FOLDER]
    target: str = field(default="host", metadata={"listed": BOARDS})
    inputs: Path | None = None
    data: str = ""
    signature: str = ""
    name: str = ""
    optimize: Literal["balanced", "size", "speed", "ram"] = "balanced"
    flash: int | None = None
    fast_memory: int | None = None
    firmware: Literal["none", "tflm", "c"] = "none"
    tflite: bool = False
    tflm: str = ""
    samples: Annotated[int, POSITIVE] | None = None


def compile_command(arguments: Sequence[str]) -> None:
    """Compile a file, and write what firmware is built from.

    Raises:
        BadInput: the file, the inputs, the options or the folder are no good.
        ParityError: something computes other integers; nothing is written.
    """
    options = read_options(CompileOptions, arguments, "compile")
    target = board(options.target, "--target")
    _require_project(options, target)
    name = c_identifier(options.name or options.model.stem)
    project = None if options.firmware == "none" else options.out / "firmware"
    data = read_model(options.model)
    # What the file is comes before where its C goes.
    read_contents(data, str(options.model))
    probe_folders(options.out, name, {} if project is None else {"--firmware": project})
    request = Request(
        name,
        str(options.model),
        target,
        edition(options.tflm or target.edition, "--tflm"),
        options.optimize,
        options.firmware,
        options.tflite,
        options.samples,
        options.signature,
        options.fast_memory,
        options.flash,
    )
    if options.data:
        _quantized(options, name, project)
        return
    given = None if options.inputs is None else data_in(options.inputs)
    with in_options_of(CompileOptions), in_lines(), temporary_files():
        compiled = compile_file(data, request, given, str(options.inputs))
        kept = write_bundle(compiled, options.out, project)
    show(compile_page(compiled, request, options.out, project, kept))


def _quantized(options: CompileOptions, name: str, project: Path | None) -> None:
    """What ``qtorch quantize`` makes of a file of floats, with the C.

    Raises:
        BadConfiguration: the file is of integers, or there are options that stand for nothing here.
        BadInput, ParityError: see :func:`export.commands.quantize.quantize_command`.
    """
    # Lightning takes seconds to import, which a file of integers has no need of.
    from export.commands.quantize import QuantizeExportOptions, QuantizeOptions, quantize

    where = str(options.model)
    if file_form(read_contents(read_model(options.model), where)).is_integers:
        raise BadConfiguration(
            where="--data", expected="a file of floats, which is quantized on them",
            got=f"{where}, a network of integers", remedy="leave --data out; --inputs takes inputs to compare on",
        )  # fmt: skip
    if options.inputs is not None or options.samples is not None:
        raise BadConfiguration(
            where="--inputs, --samples", expected="a file of integers, whose outputs are compared on them",
            got="--data, with which the file is quantized", remedy="leave them out: --data is compared on too",
        )  # fmt: skip
    export = QuantizeExportOptions(
        c=True, target=options.target, tflm=options.tflm, optimize=options.optimize, strip=True,
        firmware=project, fast_memory=options.fast_memory, flash=options.flash,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        model = _with_signature(options, Path(folder))
        asked = QuantizeOptions(model, options.data, options.out, name=name, export=export)
        quantize(asked, {"model": {}, "data": {}, "test": {}})


def _with_signature(options: CompileOptions, folder: Path) -> Path:
    """The model's file, or one in a folder with the network that was chosen of several in front."""
    chosen = taken(read_model(options.model), options.signature, str(options.model))
    if chosen.sentence:
        show([Line(printable(chosen.sentence), "attention")])
    if not chosen.entry.subgraph:
        return options.model
    path = folder / options.model.name
    path.write_bytes(chosen.data)
    return path


def _require_project(options: CompileOptions, target: Board) -> None:
    """See that there is a project of that kind for a board.

    Raises:
        BadConfiguration: there is none.
    """
    if options.firmware == "none":
        return
    target.require_project()
    there = "tflm" if target.tflm else "c"
    if options.firmware != there:
        raise BadConfiguration(
            where="--firmware",
            expected=f"{there}, of which there is a project for {target.name}",
            got=options.firmware,
            remedy=f"--firmware {there}; or leave it out, and build NAME_model.c into a project of your own",
        )
