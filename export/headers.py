"""C and C++ sources that carry a model onto a device: pure functions from figures to text.

Every header compiles without warnings as C11 and as C++11 or later. The same arguments give the same bytes: no date, no
path, no version of the machine that wrote them. ``name`` may be any string; the files and symbols bear
:func:`~export.c_names.c_identifier` of it, macros the same in upper case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from export.c_names import c_identifier
from qtorch.errors import BadConfiguration
from qtorch.features import Feature, Interface
from qtorch.qparams import QParams

__all__ = ["arena", "model_data", "op_resolver", "quantization", "test_vectors"]

#: TFLM reads flatbuffers in place and rounds its arena's start up to this many bytes (``MicroArenaBufferAlignment``).
_ALIGNMENT = 16


def model_data(name: str, model: bytes) -> dict[str, str]:
    """The model file as a constant array: text by file name, ``<name>_model_data.h`` and ``<name>_model_data.cc``.

    The ``.cc`` file compiles as C11 as well, so that it can be renamed for a project without C++.

    Raises:
        ValueError: ``model`` is empty; C has no empty array.
    """
    if not model:
        raise ValueError("model_data: expected at least one byte, got an empty model")
    name = c_identifier(name)
    header = f"""\
// The model in TensorFlow Lite's format, {len(model):,} bytes.
{_open_guard(f"{name}_model_data")}
#ifdef __cplusplus
extern "C" {{
#endif

// Begins at a multiple of {_ALIGNMENT}, because TFLM reads the model in place.
extern const unsigned char {name}_model_data[];
extern const unsigned int {name}_model_data_len;

#ifdef __cplusplus
}}  // extern "C"
#endif
{_close_guard(f"{name}_model_data")}"""
    rows = "\n".join(
        "    " + " ".join(f"0x{byte:02x}," for byte in model[start : start + 16]) for start in range(0, len(model), 16)
    )
    # The header's declarations give the constants external linkage, which C++ would deny them otherwise.
    source = f"""\
#include "{name}_model_data.h"

#ifdef __cplusplus
alignas({_ALIGNMENT})
#else
_Alignas({_ALIGNMENT})
#endif
const unsigned char {name}_model_data[] = {{
{rows}
}};
const unsigned int {name}_model_data_len = {len(model)}u;
"""
    return {f"{name}_model_data.h": header, f"{name}_model_data.cc": source}


def quantization(
    name: str,
    interface: Interface,
    inputs: tuple[QParams, ...],
    outputs: tuple[QParams, ...],
    sizes: tuple[int, int] | None = None,
) -> str:
    """``<name>_quantization.h``: physical values to int8 codes and back, equal to QParams bit for bit.

    Input features get ``<name>_quantize_<feature>``, output features ``<name>_dequantize_<feature>``; two features
    whose identifiers agree are told apart by ``_2``, ``_3``. All features lie in input tensor 0 and output tensor 0:
    as many as the tensor has elements, which is the caller's concern, or one that all elements share.

    Args:
        name: the model's, any string.
        interface: the quantities, in the tensors' order.
        inputs: one record per input tensor, int8 per tensor.
        outputs: likewise.
        sizes: elements of input tensor 0 and of output tensor 0, one sample's; the features' numbers if ``None``.

    Raises:
        BadConfiguration: a feature's offset is not finite, or its span not positive and finite.
        ValueError: no record, or one that is not int8 per tensor.
    """
    name = c_identifier(name)
    feature_sides = (("input", interface.inputs, inputs), ("output", interface.outputs, outputs))
    elements = dict(zip(("input", "output"), sizes or (len(interface.inputs), len(interface.outputs)), strict=True))
    parts = [
        f"""\
// Codes from physical values, and physical values from codes: real = scale * (code - zero point).
//
// These functions agree with the training code bit for bit, given IEEE arithmetic: compile without -ffast-math.
// Physical units are converted in double. Where double is float, as on AVR, a value within a rounding error of the
// middle between two codes may get the neighbouring code; features with offset 0 and span 1 are exact there too.
{_open_guard(f"{name}_quantization")}
#include <stdint.h>
"""
    ]
    for side, features, records in feature_sides:
        parts.append(_figures(name, side, features, records))
        if len(features) == 1 < elements[side]:
            parts.append(f"// Elements of the tensor; all are {_quoted(features[0].name)}.")
            parts.append(f"#define {name.upper()}_{side.upper()}_SIZE {elements[side]}\n")
    parts.append(_code_of(name))
    for side, features, records in feature_sides:
        identifiers = _distinct(feature.name for feature in features)
        tensor = _tensor_macro(name, side, 0, len(records))
        function = _quantize if side == "input" else _dequantize
        for feature, identifier in zip(features, identifiers, strict=True):
            parts.append(function(name, tensor, feature, identifier))
        if features:
            whole = _shared_by_all if len(features) == 1 < elements[side] else _whole_tensor
            parts.append(whole(name, side, identifiers))
    return "\n".join(parts) + _close_guard(f"{name}_quantization")


def op_resolver(name: str, methods: tuple[str, ...]) -> str:
    """``<name>_op_resolver.h``: registers the ops that the model uses, so that the linker keeps no other kernel.

    In C the header holds only the count, as a macro.

    Args:
        name: the model's, any string.
        methods: of ``tflite::MicroMutableOpResolver``, for example ``"AddFullyConnected"``; repetitions count once.

    Raises:
        ValueError: no method, or one that is no ``Add`` method's name.
    """
    name = c_identifier(name)
    distinct = tuple(dict.fromkeys(methods))
    if not distinct or not all(re.fullmatch(r"Add[A-Za-z0-9]+", method) for method in distinct):
        raise ValueError(f"op_resolver: expected names such as 'AddFullyConnected', at least one, got {methods!r}")
    calls = "\n".join(f"  if (resolver.{method}() != kTfLiteOk) return kTfLiteError;" for method in distinct)
    return f"""\
// The ops that the model uses, and no others.
{_open_guard(f"{name}_op_resolver")}
#define {name.upper()}_OP_COUNT {len(distinct)}

#ifdef __cplusplus
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

constexpr unsigned int {name}_op_count = {name.upper()}_OP_COUNT;

// Call once, before the interpreter is built. kTfLiteError if an op was registered before.
inline TfLiteStatus {name}_register_ops(tflite::MicroMutableOpResolver<{name}_op_count>& resolver) {{
{calls}
  return kTfLiteOk;
}}
#else
enum {{ {name}_op_count = {name.upper()}_OP_COUNT }};
#endif  // __cplusplus
{_close_guard(f"{name}_op_resolver")}"""


def arena(name: str, arena_bytes: int, word_bits: int, engine: str) -> str:
    """``<name>_arena.h``: the memory that the interpreter needs, ``<NAME>_ARENA_BYTES``.

    Args:
        name: the model's, any string.
        arena_bytes: measured need; rounded up to a multiple of 16.
        word_bits: pointer size of the machine that measured, 32 or 64.
        engine: version of TFLite Micro that measured.

    Raises:
        ValueError: ``arena_bytes`` is not positive.
    """
    if arena_bytes <= 0:
        raise ValueError(f"arena: expected a positive number of bytes, got {arena_bytes}")
    name = c_identifier(name)
    rounded = -(-arena_bytes // _ALIGNMENT) * _ALIGNMENT
    margin = """\
// On 32-bit targets the persistent structures hold 4-byte pointers, so the need is smaller and this figure leaves a
// margin: a 1-16-16-1 network, for example, needs 1,616 bytes on x86-64 and 1,076 on Cortex-M3.
//
"""
    return f"""\
// The smallest arena that AllocateTensors accepts, rounded up to a multiple of {_ALIGNMENT}. Found by search on a
// {word_bits}-bit machine, in TFLite Micro {_quoted(engine)} with the reference kernels.
//
{margin if word_bits > 32 else ""}\
// Optimized kernels, such as CMSIS-NN's, may ask for scratch buffers on top.
//
// The arena must begin at a multiple of {_ALIGNMENT}: alignas({_ALIGNMENT}) uint8_t arena[{name.upper()}_ARENA_BYTES];
{_open_guard(f"{name}_arena")}
#define {name.upper()}_ARENA_BYTES {rounded}
enum {{ {name}_arena_bytes = {name.upper()}_ARENA_BYTES }};
{_close_guard(f"{name}_arena")}"""


def test_vectors(name: str, inputs: np.ndarray, outputs: np.ndarray) -> str:
    """``<name>_test_vectors.h``: codes in and the codes that must come out.

    Args:
        name: the model's, any string.
        inputs: int8 ``[N, F]``.
        outputs: int8 ``[N, M]``, what TFLM computed for ``inputs``.

    Raises:
        ValueError: the arrays are not int8, not two-dimensional, of different length, or empty.
    """
    name = c_identifier(name)
    for side, codes in (("inputs", inputs), ("outputs", outputs)):
        if codes.dtype != np.int8 or codes.ndim != 2 or codes.size == 0 or len(codes) != len(inputs):
            raise ValueError(
                f"test_vectors.{side}: expected int8 [{len(inputs)}, >= 1], got {codes.dtype} {list(codes.shape)}"
            )
    macro = name.upper()
    return f"""\
// Input codes, and the output codes that TFLite Micro computed for them. A device must match them exactly: every
// difference, even of 1, is an error.
{_open_guard(f"{name}_test_vectors")}
#include <stdint.h>

#define {macro}_TEST_COUNT {len(inputs)}
#define {macro}_TEST_INPUT_SIZE {inputs.shape[1]}
#define {macro}_TEST_OUTPUT_SIZE {outputs.shape[1]}

// Whoever includes this may use one array only.
#if defined(__GNUC__)
#define {macro}_TEST_UNUSED __attribute__((unused))
#else
#define {macro}_TEST_UNUSED
#endif

static const int8_t {macro}_TEST_UNUSED {name}_test_inputs[{macro}_TEST_COUNT][{macro}_TEST_INPUT_SIZE] = {{
{_array_rows(inputs)}
}};

static const int8_t {macro}_TEST_UNUSED {name}_test_outputs[{macro}_TEST_COUNT][{macro}_TEST_OUTPUT_SIZE] = {{
{_array_rows(outputs)}
}};
{_close_guard(f"{name}_test_vectors")}"""


def _figures(name: str, side: str, features: tuple[Feature, ...], records: tuple[QParams, ...]) -> str:
    """Macros: scale and zero point of each tensor of one side, offset and span of each feature."""
    if not records:
        raise ValueError(f"quantization.{side}s: expected one QParams per {side} tensor, got none")
    lines = []
    for index, record in enumerate(records):
        if record.dtype != "int8" or record.axis is not None:
            raise ValueError(f"quantization.{side}s[{index}]: expected int8 per tensor, got {record}")
        tensor = _tensor_macro(name, side, index, len(records))
        lines.append(f"#define {tensor}_SCALE {_float_literal(record.scale[0])}")
        lines.append(f"#define {tensor}_ZERO_POINT {_parenthesized(str(record.zero_point[0]))}")
    lines += ["", f"#define {name.upper()}_{side.upper()}_FEATURES {len(features)}"]
    for feature, identifier in zip(features, _distinct(feature.name for feature in features), strict=True):
        if not math.isfinite(feature.offset) or not 0 < feature.span < math.inf:
            raise BadConfiguration(
                where=f"{side} feature {feature.name!r}",
                expected="a finite offset and a positive, finite span",
                got=f"offset {feature.offset!r} and span {feature.span!r}",
                remedy="correct the feature in the recipe",
            )
        macro = f"{name.upper()}_{side.upper()}_{identifier.upper()}"
        unit = f"in {_quoted(feature.unit)}" if feature.unit else "a pure number"
        lines += [
            f"// {_quoted(feature.name)}, {unit}: network value = (physical value - offset) / span.",
            f"#define {macro}_OFFSET {_double_literal(feature.offset)}",
            f"#define {macro}_SPAN {_double_literal(feature.span)}",
        ]
    return "\n".join(lines) + "\n"


def _code_of(name: str) -> str:
    """The C function that all quantizing functions share."""
    return f"""\
// Nearest code, ties away from zero, clamped to -128..127; the zero point for NaN. Needs no math library.
static inline int8_t {name}_code_of(float steps, int zero_point) {{
  int code = zero_point;
  // Beyond 256 steps every zero point saturates, and conversion to int would be undefined further out.
  if (steps >= 256.0f) {{
    code = 127;
  }} else if (steps <= -256.0f) {{
    code = -128;
  }} else if (steps > -256.0f && steps < 256.0f) {{
    const int whole = (int)steps;
    // Exact, so that a value just below a tie is not taken for one, as it would be in (int)(steps + 0.5f).
    const float fraction = steps - (float)whole;
    code += whole;
    if (fraction >= 0.5f) code += 1;
    if (fraction <= -0.5f) code -= 1;
  }}
  if (code < -128) code = -128;
  if (code > 127) code = 127;
  return (int8_t)code;
}}
"""


def _quantize(name: str, tensor: str, feature: Feature, identifier: str) -> str:
    """The C function from one feature's physical value to its code."""
    macro = f"{name.upper()}_INPUT_{identifier.upper()}"
    if feature.offset == 0 and feature.span == 1:
        network = "physical"
    else:
        above = "(double)physical" if feature.offset == 0 else f"(double)physical - {macro}_OFFSET"
        network = f"(float)({above})" if feature.span == 1 else f"(float)(({above}) / {macro}_SPAN)"
    return f"""\
static inline int8_t {name}_quantize_{identifier}(float physical) {{
  const float network = {network};
  return {name}_code_of(network / {tensor}_SCALE, {tensor}_ZERO_POINT);
}}
"""


def _dequantize(name: str, tensor: str, feature: Feature, identifier: str) -> str:
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
static inline float {name}_dequantize_{identifier}(int8_t code) {{
  const float network = (float)((double){tensor}_SCALE * (code - {tensor}_ZERO_POINT));
{convert}
}}
"""


def _whole_tensor(name: str, side: str, identifiers: tuple[str, ...]) -> str:
    """The C function that converts all features of tensor 0.

    Its name can't be a feature's: c_identifier never returns ``input`` or ``output``, which are Arduino macros.
    """
    size = f"{name.upper()}_{side.upper()}_FEATURES"
    if side == "input":
        head = f"{name}_quantize_input(const float physical[{size}], int8_t codes[{size}])"
        lines = [f"  codes[{i}] = {name}_quantize_{feature}(physical[{i}]);" for i, feature in enumerate(identifiers)]
    else:
        head = f"{name}_dequantize_output(const int8_t codes[{size}], float physical[{size}])"
        lines = [f"  physical[{i}] = {name}_dequantize_{feature}(codes[{i}]);" for i, feature in enumerate(identifiers)]
    return "\n".join([f"static inline void {head} {{", *lines, "}", ""])


def _shared_by_all(name: str, side: str, identifiers: tuple[str, ...]) -> str:
    """The C function that converts tensor 0, all of whose elements are the one feature."""
    size, (feature,) = f"{name.upper()}_{side.upper()}_SIZE", identifiers
    if side == "input":
        head = f"{name}_quantize_input(const float physical[{size}], int8_t codes[{size}])"
        line = f"codes[i] = {name}_quantize_{feature}(physical[i]);"
    else:
        head = f"{name}_dequantize_output(const int8_t codes[{size}], float physical[{size}])"
        line = f"physical[i] = {name}_dequantize_{feature}(codes[i]);"
    # An unsigned int has 16 bits at least, which is more than a tensor of a device of that kind has elements.
    loop = f"  for (unsigned int i = 0; i < {size}; ++i) {line}"
    return "\n".join([f"static inline void {head} {{", loop, "}", ""])


def _tensor_macro(name: str, side: str, index: int, count: int) -> str:
    """``MODEL_INPUT``, or ``MODEL_INPUT_0`` where there are several."""
    macro = f"{name.upper()}_{side.upper()}"
    return macro if count == 1 else f"{macro}_{index}"


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Identifiers in order, later ones numbered from 2 where an earlier one is the same."""
    taken: list[str] = []
    for name in names:
        identifier = stem = c_identifier(name)
        number = 2
        while identifier in taken:
            identifier, number = f"{stem}_{number}", number + 1
        taken.append(identifier)
    return tuple(taken)


def _float_literal(value: float) -> str:
    """A C literal that reads back as exactly the float32 ``value``. Nine digits do; C++11 has no hexadecimal floats."""
    digits = f"{value:.9g}"
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


def _double_literal(value: float) -> str:
    """A C literal that reads back as exactly ``value``: Python's repr, at most 17 digits."""
    return _parenthesized(repr(float(value)))


def _parenthesized(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def _quoted(text: str) -> str:
    """A person's text for a ``//`` comment: one line, nothing unprintable, and no backslash that could continue it."""
    return '"' + " ".join("".join(c if c.isprintable() and c != "\\" else " " for c in text).split()) + '"'


def _array_rows(codes: np.ndarray) -> str:
    return "\n".join("    {" + ", ".join(str(code) for code in row) + "}," for row in codes.tolist())


def _open_guard(file: str) -> str:
    return f"#ifndef {file.upper()}_H_\n#define {file.upper()}_H_\n"


def _close_guard(file: str) -> str:
    return f"\n#endif  // {file.upper()}_H_\n"
