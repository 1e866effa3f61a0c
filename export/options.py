"""The choices of an export, and which of them contradict each other."""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from dataclasses import Field, dataclass, field, fields
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from export.boards import BOARDS, board
from export.forms import FORMS
from export.forms.form import Form, require_form
from export.tflite.model_file import require_file_options
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS, edition
from qtorch.errors import BadConfiguration
from qtorch.handed_over.named_folder import named_folder
from qtorch.handed_over.words import shown

__all__ = ["ExportOptions"]

#: Of a field: among a command's options it comes before those that an export seldom needs.
_FIRST = {"first": True}

#: What else than true and false somebody may write for them.
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, 1: True, 0: False}


@dataclass(frozen=True)
class ExportOptions:
    """Choices of an export.

    Attributes:
        format: of the model's numbers; ``int8`` stands for whatever the layers' configurations say, the others are of
            the float network that quantized training started from: ``float32``, ``float16`` (weights) and
            ``dynamic_range`` (int8 weights, float activations), of which the last two run in LiteRT, not in TFLite
            Micro.
        io: type of the model's input and output; ``float32`` puts QUANTIZE and DEQUANTIZE at the ends, for inputs up to
            2**31 steps of the input's grid from zero.
        input_layout: order of the axes of images; ``nhwc`` stores the channels last, ``nchw`` keeps PyTorch's order at
            the input.
        post_training: export the float network that training began with, calibrated; not the trained one.
        equalize: with that, or with a float format, even out the sizes of channels between layers; see
            :class:`qtorch.post_training.steps.PostTraining`, like the next two.
        correct_biases: with it, take the mean error of each layer's outputs off its biases.
        round_adaptively: with it, choose for each weight whether it is rounded up or down; AdaRound.
        c: also write the network as plain C; ``<name>_model.h`` and ``<name>_model.c``, which need no interpreter.
        target: the board that has to hold it; its processor is what the C is made for, and ``host`` stands for any.
        tflm: the edition of TFLite Micro that computes the model there, of those in ``docs/which_tflm.md``; empty: the
            board's own. What that one computes otherwise is written in another form, or refused.
        optimize: what the C is made for; ``balanced`` takes at most a tenth more flash than ``size`` does, or as much
            as ``flash`` says, where that saves most time; ``speed`` takes all that saves time, ``ram`` computes row by
            row where that takes less working memory.
        flash: bytes that the C may take, program and constants, in the place of what the board has.
        fast_memory: bytes of the faster of two memories that the C's working memory may take; the rest lies in the
            slower one. Without it as many as the board has, if it has two.
        strip: leave out ``<name>_named.tflite``; it is the same model with names of its tensors, to look into.
        metadata: say in the file what it is, and beside it in ``<name>_metadata.h``; see
            :mod:`export.tflite.metadata`.
        version: of the model, for the metadata.
        firmware: folder for a ready project that runs the model on ``target``; in TFLite Micro, or in plain C where
            that does not exist. Without it there is none.
        onnx: also write the network as ONNX in QDQ form; ``<name>.onnx``, and compare ONNX Runtime with the integers.

    Raises:
        BadConfiguration: a value of another kind than the field's, options that contradict each other, or an unknown
            board.
    """

    format: Literal["int8", "float32", "float16", "dynamic_range"] = field(default="int8", metadata=_FIRST)
    io: Literal["int8", "float32"] = "int8"
    input_layout: Literal["nhwc", "nchw"] = "nhwc"
    post_training: bool = False
    equalize: bool = False
    correct_biases: bool = False
    round_adaptively: bool = False
    c: bool = field(default=False, metadata=_FIRST)
    target: str = field(default="host", metadata={"listed": BOARDS, **_FIRST})
    tflm: str = field(default="", metadata={"listed": EDITIONS})
    optimize: Literal["balanced", "size", "speed", "ram"] = "balanced"
    flash: int | None = None
    fast_memory: int | None = None
    strip: bool = False
    metadata: bool = False
    version: str = ""
    firmware: Path | None = field(default=None, metadata=_FIRST)
    onnx: bool = field(default=False, metadata=_FIRST)

    def __post_init__(self) -> None:
        for each in fields(ExportOptions):
            object.__setattr__(self, each.name, _valid(each, getattr(self, each.name)))
        self._check_steps()
        target = board(self.target)
        if self.tflm:
            edition(self.tflm)
            self._require_tflm_format()
        if self.firmware is None:
            return
        target.require_project()
        if self.format != "int8" or self.io != "int8":
            raise BadConfiguration(
                where="export.firmware",
                expected="format int8 and io int8: the application quantizes by the exported header",
                got=f"format {self.format}, io {self.io}",
                remedy="leave those options out, or leave out export.firmware",
            )

    def _require_tflm_format(self) -> None:
        if self.format in ("float16", "dynamic_range"):
            raise BadConfiguration(
                where="export.tflm",
                expected="format int8 or float32: no TFLite Micro computes with weights of fewer bits than activations",
                got=f"format {self.format}, tflm {self.tflm}",
                remedy="leave export.tflm or export.format out",
            )

    def _check_steps(self) -> None:
        steps = [name for name in ("equalize", "correct_biases", "round_adaptively") if getattr(self, name)]
        if self.format == "int8":
            contradicts = bool(steps) and not self.post_training
        else:
            contradicts = self.post_training or steps not in ([], ["equalize"])
        if contradicts:
            raise BadConfiguration(
                where="export",
                expected="steps of post-training quantization with post_training; equalize alone with a float format",
                got=f"format {self.format}, post_training {self.post_training}, {', '.join(steps) or 'no steps'}",
                remedy="set post_training: true, or leave the steps out",
            )
        if self.c and self.format != "int8":
            raise BadConfiguration(
                where="export.c",
                expected="format int8: the kernels in C have no float",
                got=f"format {self.format}",
                remedy="leave export.c or export.format out",
            )
        for form in self.forms:
            require_form(form, self)
        require_file_options(self.format, self.strip, self.metadata, self.version)

    @property
    def forms(self) -> tuple[Form, ...]:
        """Those of :data:`export.forms.FORMS` that are asked for."""
        return tuple(form for form in FORMS.values() if getattr(self, form.option))

    @property
    def edition(self) -> Edition:
        """The TFLite Micro that the export is exact on."""
        return edition(self.tflm or board(self.target).edition)

    @property
    def runs_tflm(self) -> bool:
        """Whether a TFLite Micro of that edition is to compute the model: one was named, or a board has it."""
        target = board(self.target)
        return bool(self.tflm) or (target.tflm and target.cpu != "host")

    @property
    def writes_c(self) -> bool:
        """Whether plain C is asked for, or needed for the project."""
        return self.c or (self.firmware is not None and not board(self.target).tflm)


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(ExportOptions)


def _valid(option: Field[Any], value: Any) -> Any:
    """A value that is one of those that its field's annotation allows.

    Raises:
        BadConfiguration: it is another; names the nearest.
    """
    hint = _hints()[option.name]
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if isinstance(value, str) and value in choices:
            return value
        alike = difflib.get_close_matches(str(value).lower(), choices, 1, 0.4)
        expected, meant = f"one of {', '.join(choices)}", alike[0] if alike else option.default
    elif hint is bool:
        if isinstance(value, bool):
            return value
        said = value.lower() if isinstance(value, str) else value
        known = _TRUTHS.get(said) if isinstance(said, Hashable) else None
        expected, meant = "True or False", option.default if known is None else known
    elif hint == int | None:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        expected, meant = "bytes, a whole number from 0 on, or None", option.default
    elif hint is str:
        if isinstance(value, str):
            return value
        expected, meant = "a text", option.default
    else:
        if value is None or (isinstance(value, str | PathLike) and str(value).strip()):
            return None if value is None else named_folder(f"export.{option.name}", value)
        expected, meant = "a folder, or None", option.default
    raise BadConfiguration(
        where=f"export.{option.name}", expected=expected, got=shown(value), remedy=f"write {option.name}={meant!r}"
    )
