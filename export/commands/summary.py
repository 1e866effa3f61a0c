"""``python -m export summary MODEL.tflite``: what stands in any file, whoever wrote it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from export.bundle.folder_replacement import finish_interrupted
from export.command_line.reader import POSITIONAL, read_options
from export.commands.summary_page import summary_page
from export.console.terminal import show
from export.file_kinds import KINDS, c_array
from export.tflite.stored_proof import require_stored_proof
from export.tflite.summary import summarize
from export.tflite.writer import IDENTIFIER
from qtorch.errors import BadModelFile

__all__ = ["SummaryOptions", "as_json", "read_model", "summary_command"]


@dataclass(frozen=True)
class SummaryOptions:
    """Ops, tensors, quantization, sizes and metadata of a .tflite file, whoever wrote it.

    Example:
        qtorch summary build/kws/kws.tflite

    Attributes:
        model: any .tflite file.
        json: for machines.
    """

    model: Annotated[Path, POSITIONAL]
    json: bool = False


def summary_command(arguments: Sequence[str]) -> None:
    """Print a model's summary.

    Raises:
        BadModelFile: the file can't be read, is no .tflite file, or has other weights than its metadata names.
    """
    options = read_options(SummaryOptions, arguments, "summary")
    model = read_model(options.model)
    summary = summarize(model, str(options.model))
    require_stored_proof(model, summary, str(options.model))
    if options.json:
        print(as_json(asdict(summary)))
    else:
        show(summary_page(summary))


def as_json(figures: Any) -> str:
    """Strict JSON: what is no number in it (a file may hold a scale of NaN) is a string."""
    return json.dumps(_finite(figures), indent=2, allow_nan=False)


def _finite(figures: Any) -> Any:
    if isinstance(figures, Mapping):
        return {key: _finite(each) for key, each in figures.items()}
    if isinstance(figures, list | tuple):
        return [_finite(each) for each in figures]
    return str(figures) if isinstance(figures, float) and not math.isfinite(figures) else figures


#: Files in a folder that a refusal names.
_NAMED = 3


def _folder(path: Path) -> BadModelFile:
    """What a folder is, where a file was expected, and what to do."""
    models = sorted(each.name for each in path.glob("*.tflite"))
    got, remedy = "a folder", "pass a .tflite file"
    if (path / "saved_model.pb").exists():
        got, remedy = f"a folder with {KINDS['saved_model'].words}", _SAVED_MODEL
    elif models:
        more = f" and {len(models) - _NAMED} more" if len(models) > _NAMED else ""
        remedy = f"pass one of the files in it: {', '.join(models[:_NAMED])}{more}"
    return BadModelFile(where=str(path), expected="a .tflite file", got=got, remedy=remedy)


_SAVED_MODEL = (
    "convert it: tf.lite.TFLiteConverter.from_saved_model, with a representative_dataset and "
    "OpsSet.TFLITE_BUILTINS_INT8 for an integer model"
)
#: Bytes of a model file that are read at most; the schema's own offsets end here.
_LARGEST = 2**31


def read_model(path: Path) -> bytes:
    """A file's bytes, or of a text of C those of the model in it; an export that was killed half-way is finished first.

    Raises:
        BadModelFile: it can't be read.
    """
    try:
        finish_interrupted(path.parent)
        if path.is_dir():
            raise _folder(path)
        if path.stat().st_size > _LARGEST:
            raise BadModelFile(
                where=str(path), expected=f"at most {_LARGEST:,} bytes", got=f"{path.stat().st_size:,}",
                remedy="pass a .tflite model for a microcontroller",
            )  # fmt: skip
        content = path.read_bytes()
        array = None if content[4:8] == IDENTIFIER else c_array(content)
        if array is None or array[4:8] != IDENTIFIER:
            return content
        print(f"{path}: a text of C, read as the {len(array):,} bytes of the array in it", file=sys.stderr)
        return array
    except OSError as error:
        raise BadModelFile(
            where=str(path), expected="a readable file", got=str(error), remedy="check the path"
        ) from error
