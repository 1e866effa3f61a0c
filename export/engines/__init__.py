"""What runs .tflite files: a file per engine in this folder, found by itself.

An engine takes the file's bytes and the samples of each input, ``[samples, *shape[1:]]``, and gives the outputs stacked
the same way. It runs as many samples at a time as the model's batch axis says, one by one as a device does. A file says
all of its engines in ``ENGINES``; parity, ``verify`` and ``compare`` take them from here, see
:mod:`export.parity.judges` for who judges and who is reported.

Engines of other forms stand with these: ONNX Runtime in :mod:`export.forms.onnx.runtime`, the compiled C in
:mod:`export.c.compiled`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from export.engines.engine import Engine, InspectableEngine
from export.engines.litert import LITERT_DEFAULT, LITERT_REFERENCE
from export.engines.tflm import TFLM, tflm_absent, tflm_available

__all__ = [
    "ENGINES",
    "LITERT_DEFAULT",
    "LITERT_REFERENCE",
    "TFLM",
    "Engine",
    "InspectableEngine",
    "tflm_absent",
    "tflm_available",
]


#: Files of this folder that are about engines, and have none.
_NO_ENGINES = ("engine", "apart", "apart_process", "unplanned")


def _discover() -> dict[str, Engine]:
    engines: dict[str, Engine] = {}
    files: dict[str, str] = {}
    for module in sorted(iter_modules(__path__), key=lambda m: m.name):
        if module.name in _NO_ENGINES:
            continue
        file = f"export/engines/{module.name}.py"
        stated = getattr(import_module(f"{__name__}.{module.name}"), "ENGINES", None)
        if not isinstance(stated, tuple) or not stated or not all(isinstance(each, Engine) for each in stated):
            raise ImportError(
                f"{file}: expected ENGINES, a tuple of Engine, got {stated!r:.80}. Remedy: one file, its engines."
            )
        for engine in stated:
            if engine.name in engines:
                raise ImportError(
                    f"{file}: expected an engine of a name of its own, got {engine.name!r}, which {files[engine.name]} "
                    "has. Remedy: name it after what it runs."
                )
            engines[engine.name], files[engine.name] = engine, file
    return engines


#: Every engine by name, in the order of the files.
ENGINES: dict[str, Engine] = _discover()
