"""The choices of an export, and which of them contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.boards import board
from export.forms import FORMS
from export.forms.form import Form, require_form
from export.tflite.model_file import require_file_options
from qtorch.errors import BadConfiguration

__all__ = ["ExportOptions"]


@dataclass(frozen=True)
class ExportOptions:
    """Choices of an export.

    Attributes:
        format: ``int8`` (or whatever the layers' configurations say); or, of the float network that quantized training
            started from, ``float32``, ``float16`` (weights) and ``dynamic_range`` (int8 weights, float activations);
            the last two run in LiteRT, not in TFLite Micro.
        io: type of the model's input and output; ``float32`` puts QUANTIZE and DEQUANTIZE at the ends, for inputs up to
            2**31 steps of the input's grid from zero.
        input_layout: ``nhwc`` stores images with their channels last; ``nchw`` keeps PyTorch's order at the input.
        post_training: export the float network that quantized training started from, calibrated, not the trained one.
        equalize: see :class:`qtorch.post_training.steps.PostTraining`, like the next two.
        correct_biases: as above.
        round_adaptively: as above.
        c: also write the network as plain C, which needs no interpreter: ``<name>_model.h`` and ``<name>_model.c``.
        target: a board of :data:`export.boards.BOARDS`, whose processor the C is made for and whose memory has to
            hold it; ``host`` stands for any.
        optimize: ``speed`` lets the C take more flash where that saves time.
        strip: leave out ``<name>_named.tflite``, the same model with names of its tensors for those who look into it.
        metadata: put :mod:`export.tflite.metadata` into the file, and beside it ``<name>_metadata.h``.
        version: of the model, for the metadata.
        firmware: folder for a ready project that runs the model on ``target``, in TFLite Micro, or in plain C where
            that does not exist; ``None``: no project.
        onnx: also write the network as ONNX in QDQ form, ``<name>.onnx``, and compare ONNX Runtime with the integers.

    Raises:
        BadConfiguration: options that contradict each other, or an unknown board.
    """

    format: Literal["int8", "float32", "float16", "dynamic_range"] = "int8"
    io: Literal["int8", "float32"] = "int8"
    input_layout: Literal["nhwc", "nchw"] = "nhwc"
    post_training: bool = False
    equalize: bool = False
    correct_biases: bool = False
    round_adaptively: bool = False
    c: bool = False
    target: str = "host"
    optimize: Literal["size", "speed"] = "size"
    strip: bool = False
    metadata: bool = False
    version: str = ""
    firmware: Path | None = None
    onnx: bool = False

    def __post_init__(self) -> None:
        self._check_steps()
        target = board(self.target)
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
    def writes_c(self) -> bool:
        """Whether plain C is asked for, or needed for the project."""
        return self.c or (self.firmware is not None and not board(self.target).tflm)
