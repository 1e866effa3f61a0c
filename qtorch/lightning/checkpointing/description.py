"""How a checkpoint says which classes it belongs to, and how these are built again: by name, from plain arguments.

A checkpoint is a file that someone may hand in. It can name any callable, so what it names is looked at before it is
called: a LightningModule, a LightningDataModule, or an Enum of which an argument is a member.
"""

from __future__ import annotations

import inspect
import io
import pathlib
import sys
import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from pytorch_lightning.utilities.seed import isolate_rng
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from qtorch.errors import BadCheckpoint, BadConfiguration, BadInput

__all__ = ["UntrustedName", "build", "describe", "load_plain", "require_openable"]

_NUMBERS = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
#: What may stand in a checkpoint beside plain values and tensors: building one of them does nothing else.
_KINDS: tuple[Any, ...] = (
    pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath, np.ndarray, np.dtype,
    np.float32(0).__reduce__()[0], np.zeros(1).__reduce__()[0], *(type(np.dtype(number)) for number in _NUMBERS),
)  # fmt: skip
_HARMLESS = {f"{kind.__module__}.{kind.__name__}": kind for kind in _KINDS}


class UntrustedName(BadCheckpoint):
    """A checkpoint names something to be called that is no module, data module or Enum."""


def describe(thing: pl.LightningModule | pl.LightningDataModule) -> dict[str, Any]:
    """The class and the arguments that make ``thing`` again, for :func:`build`."""
    kind = type(thing)
    if not thing.hparams and len(inspect.signature(kind).parameters) > 0:
        rank_zero_warn(
            f"{kind.__name__} does not call self.save_hyperparameters(): checkpoints will be opened with its defaults"
        )
    # LightningCLI adds entries of its own, which begin with an underscore.
    arguments = {name: value for name, value in thing.hparams.items() if not name.startswith("_")}
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": _takeable(kind, arguments)}


def _takeable(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a constructor takes: hyperparameters may hold other things too."""
    parameters = inspect.signature(kind).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return dict(arguments)
    return {name: value for name, value in arguments.items() if name in parameters}


def build(described: Any, base: type, where: str) -> Any:
    """An instance of the class that is named, which must be a ``base``, with the arguments that are.

    Raises:
        UntrustedName: what is named is no ``base``; it was not called.
        BadCheckpoint: the entry is none of :func:`describe`, there is no such class, or it can't be built from these
            arguments.
    """
    if not isinstance(described, dict) or not isinstance(described.get("init_args"), dict):
        raise BadCheckpoint(
            where=where,
            expected=f"a class_path and init_args for the {base.__name__}",
            got=f"{described!r:.80}",
            remedy="pass a checkpoint as training wrote it",
        )
    kind = _named_class(described.get("class_path"), base, where)
    name, arguments = described["class_path"], described["init_args"]
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as error:
        raise BadCheckpoint(
            where=where,
            expected=f"in the hyperparameters every argument that {name} needs",
            got=str(error),
            remedy="make networks and other objects in the constructor, from plain arguments that "
            "self.save_hyperparameters() saves; a trained module in memory can be exported without a checkpoint",
        ) from error
    try:
        return kind(**arguments)
    except BadInput:
        raise
    # A constructor of somebody's own fails in whatever way it does.
    except Exception as error:
        raise BadCheckpoint(
            where=where,
            expected=f"{name}, built again from its hyperparameters",
            got=f"{type(error).__name__}: {' '.join(str(error).split())}",
            remedy="run where the files are that its constructor reads",
        ) from error


def _named_class(class_path: Any, base: type, where: str) -> Any:
    """The class of that name, looked at and not called."""
    dotted = isinstance(class_path, str) and class_path.count(".") > 0 and all(class_path.split("."))
    named = _imported(class_path, where) if dotted else None
    if not (isinstance(named, type) and issubclass(named, base)):
        raise UntrustedName(
            where=where,
            expected=f"the name of a {base.__name__}",
            got=f"{class_path!r}" + ("" if named is None else f", which is a {type(named).__name__}"),
            remedy="open only checkpoints that you trust; nothing of this one was called",
        )
    return named


def _imported(path: str, where: str) -> Any:
    """What a dotted name stands for; what is imported for it is said first."""
    parts, problem = path.split("."), ""
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        if module not in sys.modules:
            rank_zero_info(f"{where}: importing {module}, which it names")
        try:
            named: Any = import_module(module)
            for part in parts[cut:]:
                named = getattr(named, part)
            return named
        except ModuleNotFoundError as error:
            problem = problem or str(error)
            if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
                problem = str(error)
                break
        except AttributeError as error:
            problem = str(error)
            break
        # A module of somebody's own fails in whatever way it does.
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            break
    raise BadCheckpoint(where=where, expected=f"an importable class {path}", got=problem, remedy=_where_to_run(path))


def _where_to_run(path: str) -> str:
    if path.startswith("__main__."):
        return "move the class out of the script or notebook into a module of its own, and train again"
    if "<locals>" in path:
        return "define the class in a module, not in a function, and train again"
    return "run from the folder that holds that module"


def load_plain(file: str | pathlib.Path | BinaryIO, where: str) -> Any:
    """What ``torch.save`` wrote: tensors, plain values, paths, NumPy's numbers and members of an Enum; no code runs.

    Raises:
        BadCheckpoint: there is anything else in it.
    """
    allowed = dict(_HARMLESS)
    for name in _globals_in(file):
        if name not in allowed:
            allowed[name] = _enum(name, where)
    with safe_globals(list(allowed.values())):
        return torch.load(file, map_location="cpu", weights_only=True)


def _globals_in(file: str | pathlib.Path | BinaryIO) -> list[str]:
    names: list[str] = get_unsafe_globals_in_checkpoint(file)
    if not isinstance(file, str | pathlib.Path):
        file.seek(0)
    return names


def _enum(name: str, where: str) -> type[Enum]:
    try:
        named = _imported(name, where) if not name.startswith("torch.") else None
    except BadCheckpoint:
        named = None
    if not (isinstance(named, type) and issubclass(named, Enum)):
        raise BadCheckpoint(
            where=where,
            expected="plain values in it: numbers, strings, lists, dicts, paths, members of an Enum",
            got=f"an object of {name}",
            remedy="leave it out, as in self.save_hyperparameters(ignore=[...]), and make it from plain arguments",
        )
    return named


def require_openable(
    module: pl.LightningModule,
    data: pl.LightningDataModule | None,
    require_same: Callable[[pl.LightningModule], None],
    needed: bool,
) -> None:
    """See that the checkpoints of a run can be opened by themselves.

    Args:
        module: as it is before training.
        data: the run's data module, if it has one; it is not built again.
        require_same: raises where a module that was built again is another one.
        needed: whether a checkpoint is the run's only way out.

    Raises:
        BadConfiguration: they are needed, and can't be opened.

    Warns:
        UserWarning: they can't be opened, and are not needed.
    """
    problem = _unopenable(module, data, require_same)
    if not problem:
        return
    if needed:
        raise BadConfiguration(
            where=type(module).__name__,
            expected="a module and data whose checkpoints can be opened again, which is what an export does",
            got=problem.partition(" Remedy: ")[0],
            remedy=problem.partition(" Remedy: ")[2] or "correct the hyperparameters",
        )
    rank_zero_warn(
        f"this run's checkpoints can't be opened by python -m export or load_run: {problem.rstrip('.')}. "
        "Training goes on; the trained network can be exported in this process."
    )


def _unopenable(
    module: pl.LightningModule,
    data: pl.LightningDataModule | None,
    require_same: Callable[[pl.LightningModule], None],
) -> str:
    """Why a checkpoint of this run could not be opened by itself; empty where it can."""
    try:
        for thing in (module, data):
            if thing is None:
                continue
            described = describe(thing)
            name = described["class_path"]
            if name.startswith("__main__.") or "<locals>" in name:
                return f"its class is {name}. Remedy: {_where_to_run(name)}"
            buffer = io.BytesIO()
            torch.save(described, buffer)
            buffer.seek(0)
            again = load_plain(buffer, f"the hyperparameters of {type(thing).__name__}")
            if isinstance(thing, pl.LightningModule):
                with isolate_rng(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    require_same(build(again, pl.LightningModule, f"the hyperparameters of {type(thing).__name__}"))
    except BadInput as error:
        return str(error)
    # What can't be pickled says so in whatever way it does.
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
