"""``<name>_quantization.h``: physical values to codes and back, in C, equal to the training code bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.c_language.names import c_identifier
from export.c_language.text import (
    close_guard,
    comment,
    double_literal,
    float_literal,
    open_guard,
    parenthesized,
    quoted,
)
from export.interface.tensor_code import SUFFIX, described, interpreter_arrays, tensor_macro
from export.interface.tensor_layout import TensorLayout
from export.interface.tensor_meaning import conversion, distinct, element_names, meaning, whole_function, with_meaning
from qtorch.features import Feature, Interface
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams

__all__ = ["quantization"]


def quantization(
    name: str,
    interface: Interface,
    inputs: tuple[QParams, ...],
    outputs: tuple[QParams, ...],
    sizes: tuple[int, int] | None = None,
    layouts: Sequence[TensorLayout] = (),
) -> str:
    """``<name>_quantization.h``: physical values to int8 or int16 codes and back, equal to QParams bit for bit.

    Input features get ``<name>_quantize_<feature>``, output features ``<name>_dequantize_<feature>``; two features
    whose identifiers agree are told apart by ``_2``, ``_3``. The layouts say which features a tensor has: as many as it
    has elements, which is the caller's concern, or one that all elements share. Where they do not, those of the
    interface lie in input tensor 0 and output tensor 0.

    Args:
        name: the model's, any string.
        interface: the quantities, in the tensors' order.
        inputs: one record per input tensor, int8 or int16 per tensor, or of indices, which have no functions.
        outputs: likewise.
        sizes: elements of input tensor 0 and of output tensor 0, one sample's; the features' numbers if ``None``.
        layouts: of all inputs and outputs of the model file; where they are given the header says in which order their
            axes lie, with a line of code that fills or reads each.

    Raises:
        ValueError: no record, or one that is not int8 or int16 per tensor.
    """
    name = c_identifier(name)
    layouts = with_meaning(layouts, interface)
    tensors = _tensors(name, interface, (inputs, outputs), sizes, layouts)
    parts = [
        f"""\
// Codes from physical values, and physical values from codes: real = scale * (code - zero point).
//
// These functions agree with the training code bit for bit, given IEEE arithmetic: compile without -ffast-math.
// Physical units are converted in double. Where double is float, as on AVR, a value within a rounding error of the
// middle between two codes may get the neighbouring code; features with offset 0 and span 1 are exact there too.
{_recorded(interface)}{open_guard(f"{name}_quantization")}
#include <stdint.h>
"""
    ]
    if layouts:
        parts += [_order(name, layouts), described(name, layouts, conversion(name, layouts), meaning)]
    for side, records in (("input", inputs), ("output", outputs)):
        mine = [tensor for tensor in tensors if tensor.side == side]
        parts.append(_figures(name, side, mine, records))
        for tensor in mine:
            if tensor.shared:
                parts.append(f"// Elements of the tensor; all are {quoted(tensor.features[0].name)}.")
            if tensor.shared or tensor.several:
                parts.append(f"#define {tensor.macro}_SIZE {tensor.elements}\n")
    parts += [
        _code_of(name, dtype) for dtype in dict.fromkeys(record.dtype for record in inputs if not record.is_whole)
    ]
    for tensor in tensors:
        function = _quantize if tensor.side == "input" else _dequantize
        for feature, identifier in zip(tensor.features, tensor.identifiers, strict=True):
            parts.append(function(name, tensor.grid, feature, identifier, tensor.dtype))
        if tensor.features:
            parts.append((_shared_by_all if tensor.shared else _whole_tensor)(name, tensor))
        if tensor.features and tensor.several and (tensor.side, tensor.index) == ("output", 0):
            parts.append(_first_output(name, tensor))
    return "\n".join(parts) + close_guard(f"{name}_quantization")


@dataclass(frozen=True)
class _Tensor:
    """One whose elements have functions.

    Attributes:
        side: ``"input"`` or ``"output"``.
        index: among its side's.
        several: whether its functions bear the index.
        macro: what its sizes are called after.
        grid: what its scale and zero point are called after.
        dtype: of its codes.
        elements: of one sample.
        features: one for each element, or one that all share.
        identifiers: of the features.
    """

    side: str
    index: int
    several: bool
    macro: str
    grid: str
    dtype: str
    elements: int
    features: tuple[Feature, ...]
    identifiers: tuple[str, ...]

    @property
    def shared(self) -> bool:
        """Whether several elements are the one feature."""
        return len(self.features) == 1 < self.elements

    @property
    def size(self) -> str:
        """The macro that a whole tensor's function takes its arrays' size from."""
        return f"{self.macro}_{'SIZE' if self.shared or self.several else 'FEATURES'}"


def _tensors(
    name: str,
    interface: Interface,
    records: tuple[tuple[QParams, ...], tuple[QParams, ...]],
    sizes: tuple[int, int] | None,
    layouts: Sequence[TensorLayout],
) -> list[_Tensor]:
    """All that the layouts tell of; without them the first of either side."""
    elements = sizes or (len(interface.inputs), len(interface.outputs))
    identifiers = element_names(layouts)
    tensors = []
    for position, side in enumerate(("input", "output")):
        known = {layout.index: layout for layout in layouts if layout.side == side}
        count = len(records[position])
        for index, record in enumerate(records[position]):
            features = known[index].quantities if known else (interface.inputs, interface.outputs)[position]
            features = () if record.is_whole else features
            if index and not known:
                break
            several = bool(known) and count > 1
            grid = tensor_macro(name, side, index, count)
            tensors.append(
                _Tensor(
                    side,
                    index,
                    several,
                    grid if several else f"{name.upper()}_{side.upper()}",
                    grid,
                    record.dtype,
                    known[index].elements if known else elements[position],
                    features,
                    identifiers[side, index] if known and features else distinct(each.name for each in features),
                )
            )
    return tensors


def _recorded(interface: Interface) -> str:
    """What has to be the same on the device, as comment lines; nothing where the data does not say."""
    lines = [f"//   {key}: {quoted(value)}" for key, value in interface.recorded]
    return (
        "\n".join(["//", "// The training data was recorded so, and inputs have to be:", *lines, ""]) if lines else ""
    )


def _order(name: str, layouts: Sequence[TensorLayout]) -> str:
    """What the lines that fill the arrays stand under."""
    if all(layout.scale is None for layout in layouts) and any(layout.dtype == "float32" for layout in layouts):
        plain = (
            f"Plain C takes and gives codes, not these: where it was exported, {name}_model.h has the lines that fill "
            "and read its arguments"
        )
    else:
        plain = "In plain C they are the arguments of its function, in this order"
    text = (
        f"Order of the axes, last index fastest; the batch is one sample. In TFLite Micro the arrays are "
        f"{interpreter_arrays(layouts)}. {plain}. Values in another order are as good as any to the model, and the "
        "test vectors can't tell: fill the arrays by these lines."
    )
    return f"{comment(text)}\n"


def _figures(name: str, side: str, tensors: Sequence[_Tensor], records: tuple[QParams, ...]) -> str:
    """Macros: scale and zero point of each tensor of one side, offset and span of each feature."""
    features = [feature for tensor in tensors for feature in tensor.features]
    grids = [records[tensor.index] for tensor in tensors for _ in tensor.features]
    identifiers = [identifier for tensor in tensors for identifier in tensor.identifiers]
    if not records:
        raise ValueError(f"quantization.{side}s: expected one QParams per {side} tensor, got none")
    lines = []
    for index, record in enumerate(records):
        if record.is_whole:
            tensor = tensor_macro(name, side, index, len(records))
            lines.append(f"// {tensor} has indices, {record.dtype}_t, as they are.")
            continue
        if record.dtype not in SUFFIX or record.axis is not None:
            raise ValueError(f"quantization.{side}s[{index}]: expected {' or '.join(SUFFIX)} per tensor, got {record}")
        tensor = tensor_macro(name, side, index, len(records))
        lines.append(f"#define {tensor}_SCALE {float_literal(record.scale[0])}")
        lines.append(f"#define {tensor}_ZERO_POINT {parenthesized(str(record.zero_point[0]))}")
        if record.scale == (1.0,) and all((f.offset, f.span) == (0, 1) for f in features):
            low, high = (code - record.zero_point[0] for code in record.code_range)
            lines.append(f"// The code of a whole number from {low} to {high} is that number plus the zero point.")
    lines += ["", f"#define {name.upper()}_{side.upper()}_FEATURES {len(features)}"]
    for feature, identifier, grid in zip(features, identifiers, grids, strict=True):
        macro = f"{name.upper()}_{side.upper()}_{identifier.upper()}"
        reals = (grid.scale[0] * (code - grid.zero_point[0]) for code in grid.code_range)
        least, most = (feature.offset + feature.span * real for real in reals)
        beyond = "what lies beyond saturates" if side == "input" else "no result lies beyond"
        unit = f"in {quoted(feature.unit)}" if feature.unit else "no unit stated"
        lines += [
            f"// {quoted(feature.name)}, {unit}: network value = (physical value - offset) / span.",
            f"// Its codes reach from {least:.6g} to {most:.6g}: {beyond}.",
            f"#define {macro}_OFFSET {double_literal(feature.offset)}",
            f"#define {macro}_SPAN {double_literal(feature.span)}",
        ]
    return "\n".join(lines) + "\n"


def _code_of(name: str, dtype: str) -> str:
    """The C function that all quantizing functions of a type share."""
    low, high = CODE_RANGE[dtype]
    # An int may have 16 bits.
    wide = {"int8": "int", "int16": "int32_t", "int32": "int64_t"}[dtype]
    steps, suffix = high - low + 1, SUFFIX[dtype]
    return f"""\
// Nearest code, ties away from zero, clamped to {low}..{high}; the zero point for NaN. Needs no math library.
static inline {dtype}_t {name}_code{suffix}_of(float steps, {wide} zero_point) {{
  {wide} code = zero_point;
  // Beyond {steps} steps every zero point saturates, and conversion to an integer would be undefined further out.
  if (steps >= {steps}.0f) {{
    code = {high};
  }} else if (steps <= -{steps}.0f) {{
    code = {low};
  }} else if (steps > -{steps}.0f && steps < {steps}.0f) {{
    const {wide} whole = ({wide})steps;
    // Exact, so that a value just below a tie is not taken for one, as it would be in (int)(steps + 0.5f).
    const float fraction = steps - (float)whole;
    code += whole;
    if (fraction >= 0.5f) code += 1;
    if (fraction <= -0.5f) code -= 1;
  }}
  if (code < {low}) code = {low};
  if (code > {high}) code = {high};
  return ({dtype}_t)code;
}}
"""


def _quantize(name: str, tensor: str, feature: Feature, identifier: str, dtype: str) -> str:
    """The C function from one feature's physical value to its code."""
    macro = f"{name.upper()}_INPUT_{identifier.upper()}"
    if feature.offset == 0 and feature.span == 1:
        network = "physical"
    else:
        above = "(double)physical" if feature.offset == 0 else f"(double)physical - {macro}_OFFSET"
        network = f"(float)({above})" if feature.span == 1 else f"(float)(({above}) / {macro}_SPAN)"
    return f"""\
static inline {dtype}_t {name}_quantize_{identifier}(float physical) {{
  const float network = {network};
  return {name}_code{SUFFIX[dtype]}_of(network / {tensor}_SCALE, {tensor}_ZERO_POINT);
}}
"""


def _dequantize(name: str, tensor: str, feature: Feature, identifier: str, dtype: str) -> str:
    """The C function from one feature's code to its physical value."""
    macro = f"{name.upper()}_OUTPUT_{identifier.upper()}"
    scaled = "(double)network" if feature.span == 1 else f"(double)network * {macro}_SPAN"
    if feature.offset == 0 and feature.span == 1:
        convert = "  return network;"
    elif feature.offset == 0:
        convert = f"  return (float)({scaled});"
    elif feature.span == 1:
        convert = f"  return (float)({scaled} + {macro}_OFFSET);"
    else:
        convert = f"""\
  // volatile, lest the compiler fuse product and sum into one operation that rounds once instead of twice.
  const volatile double scaled = {scaled};
  return (float)(scaled + {macro}_OFFSET);"""
    return f"""\
static inline float {name}_dequantize_{identifier}({dtype}_t code) {{
  const float network = (float)((double){tensor}_SCALE * (code - {tensor}_ZERO_POINT));
{convert}
}}
"""


def _whole_tensor(name: str, tensor: _Tensor) -> str:
    """The C function that converts all features of a tensor.

    Its name can't be a feature's: c_identifier never returns ``input`` or ``output``, which are Arduino macros.
    """
    if tensor.side == "input":
        lines = [
            f"  codes[{i}] = {name}_quantize_{feature}(physical[{i}]);" for i, feature in enumerate(tensor.identifiers)
        ]
    else:
        lines = [
            f"  physical[{i}] = {name}_dequantize_{feature}(codes[{i}]);"
            for i, feature in enumerate(tensor.identifiers)
        ]
    return "\n".join([_whole_head(name, tensor), *lines, "}", ""])


def _shared_by_all(name: str, tensor: _Tensor) -> str:
    """The C function that converts a tensor all of whose elements are the one feature."""
    (feature,) = tensor.identifiers
    if tensor.side == "input":
        line = f"codes[i] = {name}_quantize_{feature}(physical[i]);"
    else:
        line = f"physical[i] = {name}_dequantize_{feature}(codes[i]);"
    # An unsigned int has 16 bits at least, which is more than a tensor of a device of that kind has elements.
    return "\n".join([_whole_head(name, tensor), f"  for (unsigned int i = 0; i < {tensor.size}; ++i) {line}", "}", ""])


def _whole_head(name: str, tensor: _Tensor) -> str:
    physical, codes = f"float physical[{tensor.size}]", f"{tensor.dtype}_t codes[{tensor.size}]"
    arguments = f"const {physical}, {codes}" if tensor.side == "input" else f"const {codes}, {physical}"
    function = whole_function(name, tensor.side, tensor.index, 2 if tensor.several else 1)
    return f"static inline void {function}({arguments}) {{"


def _first_output(name: str, tensor: _Tensor) -> str:
    """What an application that knows of one output calls."""
    arguments = f"const {tensor.dtype}_t codes[{tensor.size}], float physical[{tensor.size}]"
    return f"""\
// The first output, which is the one that the test vectors have.
static inline void {name}_dequantize_output({arguments}) {{
  {whole_function(name, "output", 0, 2)}(codes, physical);
}}
"""
