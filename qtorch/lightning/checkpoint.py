"""A checkpoint that can be opened by itself: which module and data it belongs to, and whether it opens as the same."""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from qtorch.errors import BadCheckpoint, BadConfiguration, BadInput
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpointing.changed_options import written
from qtorch.lightning.checkpointing.description import UntrustedName, build, load_plain
from qtorch.lightning.checkpointing.entry import FORMAT, KEY
from qtorch.lightning.networks import described_in
from qtorch.lightning.phases import EXACT_AFTER
from qtorch.lightning.steps.attached import Progress
from qtorch.network.described_ops import require_rows
from qtorch.network.known_answer import require_known_answer

__all__ = ["Run", "adopt_options", "load_run", "read_checkpoint", "require_resumable"]

#: What the entry of a checkpoint must have.
_ENTRIES = ("format", "task", "module", "data", "qat", "state")


@dataclass(frozen=True)
class Run:
    """A trained module, the data it was trained on, and the callback that quantized it.

    Attributes:
        task: what the module calls its task, or its class.
        module: its ``net`` is a :class:`qtorch.QuantizedNetwork`.
        data: ``None`` where the run had loaders alone, or its data module can't be made any more.
        qat: as it was at the end of training.
        data_absent: why there is no ``data``, where there was some.
        progress: how far training had come; ``None`` of one that its module's own trainer knows.
    """

    task: str
    module: pl.LightningModule
    data: pl.LightningDataModule | None
    qat: QuantizationAwareTraining
    data_absent: str = ""
    progress: Progress | None = None


def load_run(path: Path) -> Run:
    """Open a checkpoint that this framework wrote: the network that was trained, in the mode in which it was trained.

    The classes of module and data are imported by the names in the file, which are logged first: open only files that
    you trust. Nothing but a LightningModule and a LightningDataModule is called.

    Raises:
        BadCheckpoint: no such file, a damaged one, no checkpoint, one of another framework or format, or what is built
            from its arguments is another network than the one that was trained; says where they first differ.
    """
    checkpoint = read_checkpoint(path)
    described = _described(path, checkpoint)
    with _in_words(path):
        module = build(described["module"], pl.LightningModule, str(path))
        data, absent = None, ""
        if described["data"] is not None:
            try:
                data = build(described["data"], pl.LightningDataModule, str(path))
            except UntrustedName:
                raise
            except BadInput as error:
                absent = f"expected {error.expected}, got {error.got}"
        qat = _callback(path, described)
        _load_weights(path, checkpoint, module, qat)
        _require_answer(path, checkpoint, module.net)
    module.eval()
    return Run(str(described["task"]), module, data, qat, absent, Progress.of(checkpoint))


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """A file whose entries have been edited leads whoever follows them astray in whatever way it does."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise BadCheckpoint(
            where=str(path),
            expected="entries as training wrote them",
            got=f"some that end in {type(error).__name__}: {error}",
            remedy="pass the checkpoint as training wrote it",
        ) from error


def _described(path: Path, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    described = checkpoint.get(KEY)
    if not isinstance(described, dict):
        raise BadCheckpoint(
            where=str(path),
            expected=f"an entry {KEY!r}",
            got=f"entries {sorted(map(str, checkpoint))}",
            remedy="pass a checkpoint that was trained with the QuantizationAwareTraining callback, and saved with "
            "weights_only=False",
        )
    if described.get("format") != FORMAT:
        raise BadCheckpoint(
            where=str(path),
            expected=f"an entry {KEY!r} of format {FORMAT}",
            got=f"format {described.get('format')!r}",
            remedy="open it with the version of qtorch that wrote it, or train again",
        )
    missing = [name for name in _ENTRIES if name not in described]
    if missing or not isinstance(checkpoint.get("state_dict"), dict):
        raise BadCheckpoint(
            where=str(path),
            expected=f"a state_dict, and in {KEY!r} {', '.join(_ENTRIES)}",
            got=f"none of {', '.join(missing)}" if missing else "no state_dict",
            remedy="pass the checkpoint as training wrote it",
        )
    return described


def _callback(path: Path, described: Mapping[str, Any]) -> QuantizationAwareTraining:
    try:
        # What earlier versions stored is nobody's to remove.
        options = {name: value for name, value in described["qat"].items() if name != EXACT_AFTER}
        qat = QuantizationAwareTraining(**options)
        qat.load_state_dict(described["state"])
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadCheckpoint(
            where=str(path),
            expected=f"in {KEY!r} the options and the state of a QuantizationAwareTraining",
            got=f"{type(error).__name__}: {error}",
            remedy="pass the checkpoint as training wrote it",
        ) from error
    return qat


def adopt_options(checkpoint: Mapping[str, Any], config: Any, asked: Mapping[str, Any], where: str) -> None:
    """Put what a checkpoint says of quantization and of the module's arguments into a command line's configuration.

    Args:
        checkpoint: its entries.
        config: all options, with ``qat`` and ``model``; changed in place.
        asked: those that somebody gave.
        where: the checkpoint is, for the message.

    Raises:
        BadConfiguration: an option that was given is another; names it and both values.
    """
    state: Any = checkpoint.get("state_dict")
    description = described_in(state) if isinstance(state, dict) else None
    options = description.get("config") if isinstance(description, dict) else None
    if isinstance(options, dict):
        _adopt("qat", options, config["qat"], asked.get("qat") or {}, where)
    arguments = checkpoint.get("hyper_parameters")
    if isinstance(arguments, Mapping):
        model, wanted = config["model"], asked.get("model") or {}
        own = {name: value for name, value in arguments.items() if not str(name).startswith("_")}
        if "class_path" in model:
            _adopt("model.init_args", own, model.get("init_args") or {}, wanted.get("init_args") or {}, where)
        else:
            _adopt("model", own, model, wanted, where)


def _adopt(what: str, saved: Mapping[str, Any], config: Any, asked: Mapping[str, Any], where: str) -> None:
    for name, value in saved.items():
        if name in asked and written(asked[name]) != written(value):
            raise BadConfiguration(
                where=f"{what}.{name}",
                expected=f"{value!r}, with which {where} was trained",
                got=f"{asked[name]!r}",
                remedy="leave the option out, or train anew with it",
            )
        if name in config:
            config[name] = value


def require_resumable(path: Path, module: pl.LightningModule, qat: QuantizationAwareTraining, epochs: int) -> None:
    """Fail with a message, and before the trainer does, where a run can't go on from a checkpoint.

    Args:
        path: of the checkpoint.
        module: as it is before training; left as it is.
        qat: of this run.
        epochs: how many it shall have; -1 for no end.

    Raises:
        BadCheckpoint: no such file, no checkpoint, weights of another network or of another quantization.
        BadConfiguration: it has been trained for more epochs.
    """
    checkpoint = read_checkpoint(path)
    tried = copy.deepcopy(module)
    with _in_words(path):
        _load_weights(path, checkpoint, tried, qat.afresh())
        _require_answer(path, checkpoint, tried.net)
    if epochs >= 0 and "optimizer_states" not in checkpoint:
        raise BadCheckpoint(
            where=str(path),
            expected="a checkpoint to go on from, with the optimizer's state",
            got="weights alone",
            remedy="save it with save_weights_only=False",
        )
    begun = int(checkpoint.get("epoch", 0))
    if 0 <= epochs <= begun:
        raise BadConfiguration(
            where="trainer.max_epochs",
            expected=f"more than {begun}, the epoch that {path} was saved in",
            got=f"{epochs}",
            remedy="raise it, or begin anew in another folder",
        )


def _require_answer(path: Path, checkpoint: Mapping[str, Any], network: Any) -> None:
    """Ask for the checkpoint's own answer where its state, as one that an average was put in, has none to be asked."""
    described, state = checkpoint.get(KEY), described_in(checkpoint["state_dict"])
    asked = isinstance(state, dict) and state.get("answer") is not None
    if not asked and isinstance(described, dict):
        require_known_answer(network, described.get("answer"), str(path))


def _load_weights(
    path: Path, checkpoint: Mapping[str, Any], module: pl.LightningModule, qat: QuantizationAwareTraining
) -> None:
    require_rows(described_in(checkpoint["state_dict"]), str(path))
    qat.setup(None, module, "test")  # type: ignore[arg-type]
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except BadCheckpoint as error:
        raise BadCheckpoint(where=str(path), expected=error.expected, got=error.got, remedy=error.remedy) from error
    # An observer or a layer that is handed another's state fails in whatever way that leads it astray.
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise BadCheckpoint(
            where=str(path),
            expected=f"the weights of {type(module).__name__}, quantized as configured",
            got="; ".join(str(error).split("\n\t"))[:400],
            remedy="pass a checkpoint of this network, and the arguments it was trained with",
        ) from error
    finally:
        qat.teardown(None, module, "test")  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's entries.

    Raises:
        BadCheckpoint: no such file, a damaged one, or no checkpoint of plain values.
    """
    _require_undamaged(path)
    try:
        loaded = load_plain(path, str(path))
    except BadCheckpoint:
        raise
    # The unpickler fails on foreign bytes in whatever way they happen to lead it astray.
    except Exception as error:
        raise BadCheckpoint(
            where=str(path),
            expected="a Lightning checkpoint",
            got=str(error) if isinstance(error, OSError) else f"{type(error).__name__} from torch.load",
            remedy="pass the .ckpt file that training wrote",
        ) from error
    if not isinstance(loaded, dict):
        raise BadCheckpoint(
            where=str(path),
            expected="a Lightning checkpoint",
            got=type(loaded).__name__,
            remedy="pass the .ckpt file that training wrote",
        )
    return loaded


def _require_undamaged(path: Path) -> None:
    """The file's own checksums, which PyTorch does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged, names = archive.testzip(), archive.namelist()
    except OSError as error:
        raise BadCheckpoint(
            where=str(path), expected="a Lightning checkpoint", got=str(error),
            remedy="pass the .ckpt file that training wrote",
        ) from error  # fmt: skip
    # Of an archive that can't be read even so far, zipfile says so in whatever way it does.
    except Exception as error:
        raise BadCheckpoint(
            where=str(path),
            expected="a Lightning checkpoint, which is a zip archive",
            got=f"{type(error).__name__}: {error}",
            remedy="pass the .ckpt file that training wrote",
        ) from error
    if len(set(names)) < len(names):
        raise BadCheckpoint(
            where=str(path),
            expected="an archive with one entry of each name",
            got=f"{len(names) - len(set(names))} names that it has twice",
            remedy="pass the file as training wrote it",
        )
    if damaged is not None:
        raise BadCheckpoint(
            where=str(path),
            expected="the bytes that training wrote",
            got=f"others in {damaged}, as its checksum says",
            remedy="copy the file again from where it was written",
        )
