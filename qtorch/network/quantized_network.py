"""The type that :func:`qtorch.prepare` returns: a network that knows what it was made of, and opens only its own state.

A state dict says which network it is of: every op with its attributes and shapes, and how each is quantized. Loading
compares before anything is changed, because the weights of one network fit into many others. The state of the float
network that it was made of is taken too; then ranges stay as they are.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from qtorch.capture.call_form import CallForm
from qtorch.capture.capture import CapturedNetwork
from qtorch.capture.reference import Reference
from qtorch.errors import BadCheckpoint, BadConfiguration, BadData
from qtorch.network.calibration import batch_normalized, calibrated, has_float_layers, unfrozen_batch_norms
from qtorch.network.described_ops import FORMAT, described_ops, registered_rows, require_same_ops
from qtorch.network.known_answer import require_known_answer
from qtorch.network.mode import Mode
from qtorch.network.network_sums import NetworkSums
from qtorch.network.origin import Origin
from qtorch.network.quantized_op import QuantizedOp, permanent_constants
from qtorch.network.quantizer import Quantizer
from qtorch.network.sample_sizes import require_samples
from qtorch.network.standing_norms import StandingNorms
from qtorch.network.whole_parameters import require_whole
from qtorch.normalization import Normalization
from qtorch.packed_state import packed, unpacked
from qtorch.surroundings import is_traced, without_values

__all__ = ["EXTRA_STATE", "QuantizedNetwork", "is_calibration"]

#: What nn.Module calls the entry of a module's extra state.
EXTRA_STATE = "_extra_state"
#: Of a state dict's names, the last parts that a float network has not.
_CALIBRATED = (EXTRA_STATE, "log_scale", "log_weight_scale", "zero_share")
#: What wrappers put before or between the names of a network's own modules.
_WRAPPERS = ("_orig_mod", "module")


def is_calibration(name: str) -> bool:
    """Whether an entry of a prepared network's state dict is one that its float network has not."""
    return name.rpartition(".")[2] in _CALIBRATED


class QuantizedNetwork(CapturedNetwork):
    """A network of :class:`qtorch.Quantizer` and :class:`qtorch.QuantizedOp` that :func:`qtorch.prepare` made.

    Attributes:
        origin: what it was made of.
        ops: a line for each of its inputs and ops, in the order of execution: what it computes, and how it is
            quantized. Networks with the same lines and the same state compute the same integers.
    """

    origin: Origin
    ops: tuple[str, ...]
    #: None before all ops are in place.
    _norms = StandingNorms(nn.Identity())
    #: What a tensor of the float network's state is called here; nothing where the trace left it out.
    _names: dict[str, tuple[str, ...]]

    def finish(self, origin: Origin) -> None:
        """Say what the network was made of, once all its ops are in place."""
        self.origin, self.ops = origin, (*described_ops(self), *self._normalization_lines())
        own = self.state_dict(keep_vars=True)
        self._names = {
            name: tuple(mine for mine, tensor in own.items() if tensor is theirs)
            for name, theirs in origin.net.state_dict(keep_vars=True).items()
        }
        # What was computed of a buffer alone is a constant now, and so is what code took of one as a number.
        self._constant_buffers = {
            name: buffer.detach().clone()
            for name, buffer in origin.net.named_buffers()
            if name in self.asked or (not self._names.get(name) and buffer.is_floating_point())
        }
        self._expected_answer: dict[str, Any] | None = None
        #: Shapes of samples for which it is known to compute what the float network does.
        self._known_samples = {origin.samples}
        self._sums, self._norms = NetworkSums(self), StandingNorms(self)
        self.register_load_state_dict_post_hook(_require_answer)

    def _normalizations(self) -> list[tuple[str, Normalization]]:
        return [(name, module) for name, module in self.named_modules() if isinstance(module, Normalization)]

    def _normalization_lines(self) -> list[str]:
        """Their numbers are no weights: what is folded, and how, was decided by them."""
        return [
            f"normalization {name!r}; offset {each.offset.flatten().tolist()}; span {each.span.flatten().tolist()}"
            for name, each in self._normalizations()
            if not each.offset.is_meta
        ]

    def require_unchanged(self) -> None:
        """Refuse a network whose normalization, or a buffer that became constants, was changed after it was prepared.

        Raises:
            BadConfiguration: so it was.
        """
        changed = self._changed_constant(dict(self.origin.net.named_buffers()))
        if changed is not None:
            raise BadConfiguration(
                where=f"buffer {changed!r}",
                expected="the values that the network was prepared with, which are constants in it",
                got="others",
                remedy="change the float network, and prepare it again",
            )
        for line in self._normalization_lines():
            if line not in self.ops:
                raise BadConfiguration(
                    where=line.partition(";")[0],
                    expected="the offset and span that the network was prepared with",
                    got=line.partition("; ")[2],
                    remedy="change the float network, and prepare it again",
                )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs as the float network returns them, of a call as it takes them, or of its input tensors in a row.

        Raises:
            BadData: the call has another form than the example had, or samples have a shape for which constants were
                taken from the example's.
        """
        tensors = self.form.tensors(args, kwargs)
        if tuple([tensor.shape[1:] for tensor in tensors]) not in self._known_samples:
            self._require_samples(tensors)
        return self.called(tensors)

    def called(self, tensors: tuple[Tensor, ...]) -> Any:
        """Outputs as the float network returns them, of its input tensors."""
        if not is_compiling():
            self._norms.take_for_call()
            require_whole(self._norms.ops)
        try:
            result = self._sums.give(tensors)
            return super().called(tensors) if result is None else self.returned(result)
        finally:
            self._sums.take_back()

    def _require_samples(self, tensors: tuple[Tensor, ...]) -> None:
        """Samples of another shape than the example's: the float network says whether they mean the same here."""
        samples = tuple(tensor.shape[1:] for tensor in tensors)
        if is_compiling() or is_traced() or any(without_values(tensor) for tensor in tensors):
            return
        # It is asked without being called: this call asks.
        self._known_samples.add(samples)
        try:
            require_samples(self, Reference(self.origin.net, self.form), self.origin.samples, tensors)
        except BadData:
            self._known_samples.remove(samples)
            raise

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Put a module in, as a conversion of all batch norms does with every module that it has been through."""
        super().add_module(name, module)
        self._norms.take()

    def train(self, mode: bool = True) -> QuantizedNetwork:
        """Training, or evaluation, of every module that is in the network now."""
        self._norms.take()
        return super().train(mode)

    @property
    def mode(self) -> Mode:
        """What the network computes."""
        return next(module.mode for module in self.modules() if isinstance(module, Quantizer))

    @property
    def calibrated(self) -> bool:
        """Whether every range was measured, or is fixed."""
        return calibrated(self)

    @property
    def post_training(self) -> bool:
        """Whether it was quantized without training, and not trained since."""
        return bool(self.origin.post_training) and self.origin.post_training == self._weights_digest()

    def say_post_training(self) -> None:
        """Say that the weights, as they are now, are those of quantization without training."""
        self.origin = replace(self.origin, post_training=self._weights_digest())

    def _weights_digest(self) -> str:
        """Of parameters alone, because they are what a step of an optimizer moves: new ranges are no training."""
        digest = hashlib.sha256()
        for name, parameter in sorted(self.named_parameters()):
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def norms_frozen(self) -> bool:
        """Whether folded batch norms use their running statistics in training too."""
        return any(module.norm_frozen for module in self.modules() if isinstance(module, QuantizedOp))

    @property
    def has_float_layers(self) -> bool:
        """Whether the configuration leaves a layer in float32, on the device too."""
        return has_float_layers(self)

    def extra_repr(self) -> str:
        """What the network computes, for ``print(network)``."""
        ranges, frozen = "calibrated" if self.calibrated else "not calibrated", "batch norms frozen" * self.norms_frozen
        return ", ".join(filter(None, (f"mode={self.mode.name}", ranges, frozen, self.origin.config.for_edition)))

    def get_extra_state(self) -> Tensor:
        """What a state dict says of the network, packed: which it is, how it is quantized, what it computes."""
        # Nothing is loaded in the middle of a calibration.
        mode = Mode.FLOAT if self.mode is Mode.CALIBRATE else self.mode
        rows, normalized = registered_rows(self), batch_normalized(self)
        always = {"format": FORMAT, "ops": self.ops, "config": self.origin.config.as_options(), "mode": mode.value}
        seldom = {"batch_normalized": normalized, "rows": rows, "post_training": self.origin.post_training}
        said = {name: value for name, value in seldom.items() if value}
        state = {**always, "norms_frozen": self.norms_frozen, **said}
        # Of the same size before training as behind it.
        norms = [name for name, op in self.named_modules() if isinstance(op, QuantizedOp) and op.norm is not None]
        later = {"mode": Mode.QUANTIZED.value, "norms_frozen": False, "batch_normalized": norms}
        return packed(state, longest={**state, **later})

    def set_extra_state(self, state: Any) -> None:
        """Compute what the saved network computed; its ranges follow, so they can't be looked at here."""
        state = unpacked(state)
        mode = Mode(state["mode"])
        self._expected_answer = state.get("answer")
        self.origin = replace(self.origin, post_training=str(state.get("post_training", "")))
        for module in self.modules():
            if isinstance(module, Quantizer | QuantizedOp):
                module.mode = mode
            if isinstance(module, QuantizedOp) and module.norm is not None:
                module.norm_frozen = state["norms_frozen"]
        normalized = state.get("batch_normalized", ())
        for name, layer in unfrozen_batch_norms(self).items():
            layer.constants.normalized_by_batch = name in normalized

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Compare the ops before anything is loaded; make a float network's state one that can be loaded.

        Raises:
            BadCheckpoint: the state is another network's, another quantization's or an earlier version's.
        """
        known = self.state_dict(prefix=prefix)
        for name in [n for n in state_dict if n.startswith(prefix) and n not in known]:
            bare = prefix + _without_wrappers(name[len(prefix) :])
            if bare in known and bare not in state_dict:
                state_dict[bare] = state_dict.pop(name)
        described = unpacked(state_dict.get(prefix + EXTRA_STATE))
        mine = [name for name in state_dict if name.startswith(prefix)]
        if described is not None:
            require_same_ops(described, self.ops, "the state dict")
        elif any(name.endswith(f".{EXTRA_STATE}") for name in mine):
            raise BadCheckpoint(
                where="the state dict",
                expected="the state of a float network, or of a prepared one as a whole",
                got=f"layers of a prepared one without its entry {EXTRA_STATE!r}, which says how it is quantized",
                remedy=f"load all of it; or, for its weights alone, leave out what ends in {EXTRA_STATE}",
            )
        elif mine:
            self._complete(state_dict, prefix, known)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _complete(self, state_dict: dict[str, Any], prefix: str, known: Mapping[str, Any]) -> None:
        """Make the float network's state this network's: ranges stay what they are, what was left out is not missed."""
        floats = {}
        for name in [n for n in state_dict if n.startswith(prefix)]:
            rest = name[len(prefix) :]
            spelled = rest if rest in self._names else _without_wrappers(rest)
            if spelled in self._names:
                floats[spelled] = state_dict.pop(name)
        changed = self._changed_constant(floats)
        if changed is not None:
            raise BadCheckpoint(
                where=f"{changed!r} in the state dict",
                expected="the buffer that the network was prepared with, which is a constant in it",
                got="another",
                remedy="load the state into the float network, and prepare that",
            )
        moved = [own for name in floats for own in self._names[name] if self._other(floats[name], known[prefix + own])]
        normalizing = [each for each, _ in self._normalizations()]
        if any(own.rpartition(".")[0] in normalizing for own in moved):
            raise BadCheckpoint(
                where="the state dict",
                expected="the normalization that the network was prepared with",
                got="another offset or span",
                remedy="load it into the float network, and prepare that",
            )
        if self.calibrated and moved:
            warnings.warn(
                "load_state_dict: weights without ranges, and the network's ranges were measured with others. Remedy: "
                "calibrate the network again",
                UserWarning,
                stacklevel=2,
            )
        for name, value in floats.items():
            state_dict.update(dict.fromkeys((prefix + own for own in self._names[name]), value))
        theirs = {prefix + own for names in self._names.values() for own in names}
        for name in known.keys() - theirs - permanent_constants(self, prefix):
            state_dict.setdefault(name, known[name])

    def _changed_constant(self, values: Mapping[str, Any]) -> str | None:
        """The first buffer that became a constant and has another value now, by its name in the float network."""
        was = self._constant_buffers
        given = {name: values[name] for name in was if isinstance(values.get(name), Tensor)}
        return next((name for name, now in given.items() if not torch.equal(now.to(was[name]), was[name])), None)

    @staticmethod
    def _other(theirs: Any, mine: Any) -> bool:
        return isinstance(theirs, Tensor) and theirs.is_floating_point() and not torch.equal(theirs.to(mine), mine)

    def __getitem__(self, index: int | slice) -> nn.Module:
        """A layer of a network that was an ``nn.Sequential``, for what belongs to it: its parameters, its flags.

        Raises:
            TypeError: it was something else.
            IndexError: it had not so many.
            BadConfiguration: that layer has been folded into another.
        """
        names = list(self.origin.net._modules) if isinstance(self.origin.net, nn.Sequential) else None
        if names is None:
            raise TypeError(f"a {type(self.origin.net).__name__} has no layers by number")
        if isinstance(index, slice):
            return Layers(self.get_submodule(name) for name in names[index] if name in self._modules)
        name = names[index]
        if name not in self._modules:
            layer = type(self.origin.net._modules[name]).__name__
            raise BadConfiguration(
                where=f"layer {name!r}",
                expected="a layer that the prepared network has",
                got=f"a {layer}, which another layer computes now",
                remedy="look it up in the network from before",
            )
        return self.get_submodule(name)

    def __setitem__(self, index: int, layer: nn.Module) -> None:
        raise BadConfiguration(
            where=f"layer {index}",
            expected="a prepared network whose layers stay what they are",
            got=f"a {type(layer).__name__} to put there",
            remedy="change the network before it is prepared",
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedNetwork:
        copied: QuantizedNetwork = super().__deepcopy__(memo)  # type: ignore[assignment]
        copied._expected_answer = None
        copied.origin, copied.ops, copied._names = copy.deepcopy(self.origin, memo), self.ops, self._names
        copied._known_samples = set(self._known_samples)
        copied._constant_buffers = self._constant_buffers
        copied._sums, copied._norms = NetworkSums(copied), StandingNorms(copied)
        # Of a network that is copied in the middle of a call.
        copied._sums.forget()
        return copied

    def __reduce__(self) -> Any:
        """Pickled as what it was made of, and its state; made again, and compared, when it is unpickled."""
        return _unpickled, (self.origin, self.form, self.state_dict(), self.training)


class Layers(nn.ModuleList):
    """Some layers of a prepared network, for their parameters; they are computed by the network alone."""

    def forward(self, *arguments: Any) -> Any:
        """What nobody may call.

        Raises:
            BadConfiguration: always.
        """
        raise BadConfiguration(
            where="the network's layers",
            expected="a call of the prepared network as a whole, which is what is exported",
            got="one of some of its layers",
            remedy="call self.net(x) itself",
        )


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _unpickled(origin: Origin, form: CallForm, state: dict[str, Any], training: bool) -> QuantizedNetwork:
    device = next((t.device for t in state.values() if isinstance(t, Tensor)), None)
    example = form.arguments([torch.zeros(shape, device=device) for shape in origin.shapes])
    with warnings.catch_warnings():
        # What was said when it was prepared.
        warnings.simplefilter("ignore", UserWarning)
        network = origin.made_by(origin.net, example, origin.config)
    network.load_state_dict(state)
    return network.train(training)


def _require_answer(network: Any, keys: Any) -> None:
    """Once its state is loaded, the network answers as the one that was saved."""
    answer, network._expected_answer = network._expected_answer, None
    if answer is not None:
        require_known_answer(network, answer, "the state dict")
