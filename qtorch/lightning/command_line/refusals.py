"""Refusals in words for what Lightning, its reader of options and PyTorch's own classes raise at bad options.

A defect keeps its traceback: what is turned into words is Lightning's own exception for misuse, or an exception that
was raised inside those libraries while no code of a user's stood between the command and them.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from qtorch.errors import BadConfiguration, BadInput

__all__ = ["end_broken_pipe", "refusal_of", "require_options"]

#: Who reads options, and takes them; a file that is no YAML fails in its reader, with whatever exception comes first.
_READERS = ("jsonargparse", "yaml", "pytorch_lightning.cli")
_TAKERS = ("pytorch_lightning", "lightning_fabric", "lightning_utilities", "torch.optim", "torch.utils.data", "fsspec")
#: What those raise at values that they do not take, for want of a check of their own too.
_MISUSED = (ValueError, TypeError, ZeroDivisionError, ModuleNotFoundError, OSError)
_OWN = ("qtorch", "export", "recipes", "firmware")
#: More threads than this end in a segmentation fault or a hang of the library that starts them.
_MOST_THREADS = 1024
#: 128 and the number of SIGPIPE.
_BROKEN_PIPE = 141
#: What NumPy takes as a seed.
_LARGEST_SEED = 2**32 - 1
#: What PyTorch's generators take.
_SMALLEST_GENERATOR_SEED, _LARGEST_GENERATOR_SEED = -(2**63), 2**64 - 1


def refusal_of(error: BaseException) -> BadInput | None:
    """A refusal that says what an exception means to who gave the options; ``None`` if it is a defect.

    Args:
        error: with its traceback.
    """
    if isinstance(error, BadInput):
        return error
    # What Lightning says of it, whatever the reader of options makes of that.
    if "Neither `tensorboard` nor `tensorboardX` is available" in str(error):
        return BadConfiguration(
            where="trainer.logger",
            expected="TensorBoard, for which it writes",
            got="it is not installed",
            remedy="pip install tensorboard, or leave trainer.logger out",
        )
    modules = [name for name in _modules(error.__traceback__) if name.partition(".")[0] not in sys.stdlib_module_names]
    innermost = modules[-1] if modules else ""
    foreign = [name for name in modules if not _within(name, (*_OWN, *_READERS, *_TAKERS, "__main__", "tests"))]
    if _is_misuse(error):
        where = "the options, as Lightning was given them" if not foreign else f"Lightning, as called in {foreign[-1]}"
    elif foreign:
        return None
    elif isinstance(error, Exception) and _within(innermost, _READERS):
        where = "the options that were read"
    elif isinstance(error, _MISUSED) and _within(innermost, _TAKERS):
        where = f"the options, as {innermost.partition('.')[0]} was given them"
    else:
        return None
    return BadConfiguration(
        where=where,
        expected="values that it takes",
        got=" ".join(str(error).split()).rstrip(".") or type(error).__name__,
        remedy="mend that option, or leave it out; --help lists them all",
    )


def _is_misuse(error: BaseException) -> bool:
    """Whether it is Lightning's own exception for that, which nobody raised who has not imported it."""
    lightning = sys.modules.get("lightning_fabric.utilities.exceptions")
    return lightning is not None and isinstance(error, lightning.MisconfigurationException)


def _modules(trace: TracebackType | None) -> list[str]:
    """Names of the modules on the way to an exception, outermost first."""
    return [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(trace)]


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def require_options(options: Mapping[str, Any]) -> None:
    """See to what the reader of options lets through: a trainer without options, keys that are no names, numbers.

    Args:
        options: of the command line; a seed or number of threads that is left out or ``None`` is not looked at.

    Raises:
        BadConfiguration: the trainer's are no mapping, a layer is no string, or a number is one that NumPy or PyTorch
            does not take.
    """
    trainer, layers = options.get("trainer", {}), options.get("qat.layers")
    if not hasattr(trainer, "items"):
        raise BadConfiguration(
            where="trainer",
            expected="options by name",
            got=f"{trainer!r}",
            remedy="write 'max_epochs: 5' and the like below it, or leave it out",
        )
    for layer in layers if isinstance(layers, Mapping) else ():
        if not isinstance(layer, str):
            raise BadConfiguration(
                where="qat.layers",
                expected="names or patterns of layers",
                got=f"the {type(layer).__name__} {layer!r}",
                remedy=f"put it in quotes: '{layer}'",
            )
    data: Any = options.get("data")
    data = data.get("init_args", data) if hasattr(data, "get") else {}
    drawn = data.get("seed") if hasattr(data, "get") else None
    if isinstance(drawn, int) and not _SMALLEST_GENERATOR_SEED <= drawn <= _LARGEST_GENERATOR_SEED:
        raise BadConfiguration(
            where="--data.seed",
            expected="a whole number that 64 bits hold",
            got=f"{drawn}",
            remedy="choose another seed",
        )
    seed, threads = options.get("seed_everything"), options.get("threads")
    # ``true`` draws a seed and ``false`` sets none.
    if isinstance(seed, int) and not 0 <= seed <= _LARGEST_SEED:
        raise BadConfiguration(
            where="--seed_everything",
            expected=f"a whole number from 0 to {_LARGEST_SEED}",
            got=f"{seed}",
            remedy="choose another seed, or false for none",
        )
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise BadConfiguration(
            where="--threads",
            expected=f"at least 1, at most {_MOST_THREADS}",
            got=f"{threads}",
            remedy="try 1",
        )


def end_broken_pipe(error: BrokenPipeError) -> int:
    """Exit code 141 of a command whose reader has gone, as a shell has it; silence for what is still to be flushed.

    Args:
        error: raised in printing.

    Raises:
        BrokenPipeError: the same, if it was a pipe to another process of its own that broke.
    """
    if _within(_modules(error.__traceback__)[-1], ("multiprocessing", "subprocess", "socket")):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _BROKEN_PIPE
