"""Whether a row is right: its samples through everything that can compute them, compared with its integer reference.

In: a :class:`~qtorch.row.row.Row`, registered or not. Out: a :class:`RowParity`, or a ParityError.
"""

from export.rows.judges import (
    CSample,
    c_library,
    c_samples,
    require_c,
    require_file,
    require_float,
    require_litert,
    require_onnx,
    require_tflm,
)
from export.rows.report import RowParity, row_parity
from export.rows.samples import batch_of, reference_outputs, runtime_arrays, sample_graph

__all__ = [
    "CSample",
    "RowParity",
    "batch_of",
    "c_library",
    "c_samples",
    "reference_outputs",
    "require_c",
    "require_file",
    "require_float",
    "require_litert",
    "require_onnx",
    "require_tflm",
    "row_parity",
    "runtime_arrays",
    "sample_graph",
]
