"""A ready project in plain C, for boards that are too small for TFLite Micro: an Arduino library with its sketch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from export.boards import Board
from export.device.firmware_words import beginnings, board_package, comments, readme_section
from export.interface.tensor_code import tensor_macro, variable
from export.interface.tensor_layout import TensorLayout
from firmware.emulation import sketch_source
from qtorch.errors import BadConfiguration

__all__ = ["C_MODEL_FILES", "c_project"]

#: What the library holds, by what follows the model's name.
C_MODEL_FILES = ("_model.c", "_model.h", "_quantization.h", "_test_vectors.h")


def c_project(
    name: str, files: Mapping[str, bytes], board: Board, layouts: Sequence[TensorLayout] = (),
    figures: Sequence[str] = (),
) -> dict[str, str]:  # fmt: skip
    """Text by path, in Arduino's library format 1.5.

    Args:
        name: the model's, an identifier.
        files: of the export's bundle, all of :data:`C_MODEL_FILES` among them.
        board: where it shall run.
        layouts: of the model's inputs and outputs.
        figures: what it takes of the board, a sentence each.

    Raises:
        BadConfiguration: an input or output has no int8 codes, which alone the sketch hands over.
    """
    for layout in layouts:
        if layout.dtype != "int8":
            raise BadConfiguration(
                where="export.firmware", expected="a network with int8 inputs and outputs",
                got=f"{layout.dtype} at {layout.label}",
                remedy=f"leave export.firmware out, and call {name}_invoke in a sketch of your own",
            )  # fmt: skip
    sketch = name.title().replace("_", "")
    arrays = [
        (variable(layout), f"{tensor_macro(name, layout.side, layout.index, layout.count)}_SIZE") for layout in layouts
    ] or [("in", f"{name.upper()}_INPUT_SIZE"), ("out", f"{name.upper()}_OUTPUT_SIZE")]
    words = {
        "name": name,
        "NAME": name.upper(),
        "description": board.description,
        "sketch": sketch,
        "package": board_package(board),
        "architectures": "avr" if board.cpu == "avr" else "*",
        "arrays": ", ".join(f"{array}[{size}]" for array, size in arrays),
        "variables": ", ".join(array for array, _ in arrays),
        "tensors": readme_section(name, layouts, physical=False, figures=figures),
    }
    arguments = (*beginnings(name, layouts, "input", "in"), *beginnings(name, layouts, "output", "out"))
    several = {layout.side for layout in layouts if layout.count > 1}
    replay = sketch_source(name, several, ", ".join(arguments))
    return {
        "README.md": _template("library/README.md", words),
        "library.properties": _template("library/library.properties", words),
        f"examples/{sketch}/{sketch}.ino": f"{comments(name, layouts)}\n//\n{replay}",
        **{f"src/{name}{suffix}": files[f"{name}{suffix}"].decode() for suffix in C_MODEL_FILES},
    }


def _template(path: str, words: Mapping[str, str]) -> str:
    text = (resources.files("firmware") / "targets" / "avr").joinpath(*path.split("/")).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
