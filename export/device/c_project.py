"""A ready project in plain C, for boards that are too small for TFLite Micro: an Arduino library with its sketch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from export.boards import Board
from export.device.firmware_words import board_package, comments, readme_section
from export.interface.tensor_layout import TensorLayout

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
    """
    sketch = name.title().replace("_", "")
    words = {
        "name": name,
        "NAME": name.upper(),
        "description": board.description,
        "sketch": sketch,
        "package": board_package(board),
        "architectures": "avr" if board.cpu == "avr" else "*",
        "tensors": readme_section(name, layouts, physical=False, figures=figures),
    }
    return {
        "README.md": _template("library/README.md", words),
        "library.properties": _template("library/library.properties", words),
        f"examples/{sketch}/{sketch}.ino": f"{comments(name, layouts)}\n//\n{_template('sketch/replay.ino.in', words)}",
        **{f"src/{name}{suffix}": files[f"{name}{suffix}"].decode() for suffix in C_MODEL_FILES},
    }


def _template(path: str, words: Mapping[str, str]) -> str:
    text = (resources.files("firmware") / "targets" / "avr").joinpath(*path.split("/")).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
