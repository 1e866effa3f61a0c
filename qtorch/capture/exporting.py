"""A network as ``torch.export`` captures it: PyTorch's own operators, with layers and functions of rows kept whole.

Its code runs as it is on tensors without values, whose sizes are numbers, but for the batch's.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.backends import opt_einsum

from qtorch.capture.asked_numbers import MOST_NUMBERS
from qtorch.capture.attention_layers import batch_in_front, hints_taken
from qtorch.capture.call_form import CallForm, OutputForm, output_form
from qtorch.capture.kept_calls import KeptCalls, SeenCall, keeping_functions
from qtorch.capture.open_sizes import lengths_as_sizes, sizes_as_they_are
from qtorch.capture.own_gradients import OwnGradient, functions_as_calls
from qtorch.capture.reference import copied
from qtorch.errors import UnsupportedLayer
from qtorch.surroundings import undisturbed_random_numbers

__all__ = ["Exported", "export_network", "first_repeated"]

#: One capture at a time: each patches what the others do, and puts back what it found.
_EXPORTING = threading.RLock()


@dataclass
class Exported:
    """What was captured of a network.

    Attributes:
        program: the exported program, of the network and what calls it.
        kept: the calls that it names by number.
        outputs: how the network returns its outputs, if not as a tensor or a tuple of them.
        single: whether the one output is a tensor by itself.
        identities: names of layers of its own that handed on the very tensor that they got.
        own_gradients: whether it calls functions that say themselves what their gradient is.
        fixed_batch: the batch's size where that became a number, which it runs with alone; else 0.
    """

    program: Any = None
    kept: KeptCalls = field(default_factory=KeptCalls)
    outputs: OutputForm | None = None
    single: bool = False
    identities: list[str] = field(default_factory=list)
    own_gradients: bool = False
    fixed_batch: int = 0

    @property
    def graphs(self) -> list[fx.Graph]:
        """The program's calls, and those of its blocks."""
        return [each.graph for each in self.program.graph_module.modules() if isinstance(each, fx.GraphModule)]


class _Failed(Exception):
    """What the network's code raised, in a form that export does not write about on its own account."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Called(nn.Module):
    """A network that is called with its input tensors in a row, and gives its output tensors."""

    def __init__(self, net: nn.Module, form: CallForm, exported: Exported) -> None:
        super().__init__()
        self.net, self.form, self.exported = net, form, exported
        self.held = {name: each.detach().cpu().clone() for name, each in _small_buffers(net)}
        self.others = [(each, each.detach().cpu().clone()) for each in _small_attributes(net)]

    def forward(self, *tensors: Tensor) -> Any:
        """A tensor, or a tuple of them."""
        from torch.fx.experimental.proxy_tensor import get_proxy_mode

        call = self.form.arguments(tensors)
        mode = get_proxy_mode()
        if mode is not None:
            # Lines of functions that forward calls, too: they say more than forward's own.
            mode.tracer._record_forward_stack_traces_only = False
        buffers, values = dict(self.net.named_buffers()), self.exported.kept.values
        for name, value in self.held.items():
            values.know(name, buffers[name], value)
        for attribute, value in self.others:
            values.know("", attribute, value)
        try:
            with keeping_functions(self.exported.kept):
                result = self.net(*call.args, **call.kwargs)
        except Exception as error:
            raise _Failed(error) from error
        values.written |= {name for name, each in self.net.named_buffers() if each is not buffers.get(name)}
        self.exported.outputs, outputs = output_form(result)
        self.exported.single = not isinstance(outputs, tuple | list)
        return outputs


def _small_buffers(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those that code may ask for numbers of."""
    for name, each in net.named_buffers():
        if not each.is_meta and each.numel() <= MOST_NUMBERS:
            yield name, each


def _small_attributes(net: nn.Module) -> Iterator[Tensor]:
    """The same of layers' own tensors that are no buffers, alone or in a list."""
    for module in net.modules():
        for value in vars(module).values():
            for each in value if isinstance(value, list | tuple) else [value]:
                if type(each) is Tensor and not each.is_meta and each.numel() <= MOST_NUMBERS:
                    yield each


def export_network(
    net: nn.Module, form: CallForm, examples: Sequence[Tensor], kept: Collection[str], opaque: Collection[str] = ()
) -> Exported:
    """``net`` as its code runs, in the mode that its modules are in.

    Args:
        net: its layers get another ``forward`` meanwhile, and lose their backward hooks.
        form: how it is called.
        examples: a tensor per input, the batch's axis first.
        kept: paths of the layers that are kept whole.
        opaque: of those of them whose code is not run on tensors without values.

    Raises:
        UnsupportedLayer: a buffer's value becomes a number of Python, and forward writes that buffer.
        Exception: whatever its code, or the export of it, raises.
    """
    exported = _exported(net, form, examples, kept, opaque)
    if exported.fixed_batch:
        # Not at once: whatever asks for any length would take longer.
        with suppress(Exception), _EXPORTING, lengths_as_sizes(), sizes_as_they_are(net):
            return _exported(net, form, examples, kept, opaque)
    return exported


def _exported(
    net: nn.Module, form: CallForm, examples: Sequence[Tensor], kept: Collection[str], opaque: Collection[str]
) -> Exported:
    # Here, because importing it takes as long as all the rest of torch.
    from torch._dynamo import config
    from torch.export import Dim, export

    exported = Exported()
    count = _batch(examples)
    examples = first_repeated(examples, count)
    sizes = tuple({0: Dim.AUTO} if each.dim() else {} for each in examples)
    seen, called = _seen(net, form, examples, kept), _Called(net, form, exported)
    with (
        _EXPORTING,
        torch.enable_grad(),
        _silent(),
        _functions(exported, net),
        hints_taken(),
        _distributions_unchecked(),
        # Which computes with sizes, the batch's among them, in what order a product is quickest.
        opt_einsum.flags(enabled=False),
        _watched(net, exported, kept, opaque, seen),
        # Sizes that hold the batch's are others in each capture: results would be kept and never found again, which
        # takes a sixth to a third of all the time.
        config.patch(fake_tensor_cache_enabled=False),
    ):
        try:
            exported.program = export(called, tuple(examples), dynamic_shapes=(sizes,), strict=False)
        except _Failed as failed:
            raise failed.error from None
    _let_go(exported.program)
    for name in sorted(exported.kept.values.asked & exported.kept.values.written):
        raise UnsupportedLayer(
            where=f"buffer {name!r}",
            expected="one that forward only reads, where its value becomes a number of Python",
            got="one that forward writes",
            remedy="keep it a tensor, as x * self.scale does instead of x * float(self.scale)",
        )
    inputs = exported.program.graph_signature.user_inputs
    values = [node.meta["val"] for node in exported.program.graph.find_nodes(op="placeholder") if node.name in inputs]
    if any(isinstance(each, Tensor) and each.dim() and str(each.shape[0]).isdigit() for each in values):
        exported.fixed_batch = count
    return exported


@contextmanager
def _distributions_unchecked() -> Iterator[None]:
    """A block in which distributions do not look whether their parameters are in range, which asks for values."""
    checked = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(checked)


def _let_go(program: Any) -> None:
    """Let what export remembers of parameters go: as long as something refers to them, a module can't swap them.

    It would go with the next collection of circles, and a module may move to another device before.
    """
    for node in program.graph.find_nodes(op="placeholder"):
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None:
            converter = mode.fake_tensor_converter.meta_converter
            converter.describer.lookup_tensor.clear()
            converter.tensor_memo.clear()
            return


def first_repeated(examples: Sequence[Tensor], count: int) -> list[Tensor]:
    """The first sample of every tensor, so many times."""
    return [each[:1].repeat(count, *[1] * (each.dim() - 1)) if each.dim() else each for each in examples]


def _batch(examples: Sequence[Tensor]) -> int:
    """A number of samples that is no other size: where two sizes are the same, export takes one for the other."""
    sizes = {size for each in examples for size in each.shape}
    return next(each for each in (11, 13, 17, 19, 23, 29, 31) if each not in sizes or each == 31)


#: Who logs what it tried in vain, with its traceback; what comes of it is said by an exception.
_LOGS = tuple(map(logging.getLogger, ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor")))


@contextmanager
def _silent() -> Iterator[None]:
    """A block without what torch has to say: of tensors that code keeps for itself, of what it could not find."""
    levels = [log.level for log in _LOGS]
    for log in _LOGS:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(_LOGS, levels, strict=True):
            log.setLevel(level)


def _seen(
    net: nn.Module, form: CallForm, examples: Sequence[Tensor], kept: Collection[str]
) -> dict[str, list[SeenCall | None]]:
    """Every call of some layers, by the layer's path, as the network makes them on real numbers.

    By them a layer's result is known without running its code on tensors without values, which takes much longer.
    """
    seen: dict[str, list[SeenCall | None]] = {path: [] for path in kept}
    alone = copied(net, ())

    def noting(path: str, forward: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            given = args[0].shape if len(args) == 1 and not kwargs and isinstance(args[0], Tensor) else ()
            memory = args[0].untyped_storage().data_ptr() if given else 0
            result = forward(*args, **kwargs)
            plain = isinstance(result, Tensor) and given and result.dim() and result.shape[0] == given[0]
            view = plain and result.untyped_storage().data_ptr() == memory
            seen[path].append(SeenCall(tuple(given[1:]), tuple(result.shape[1:]), bool(view)) if plain else None)
            return result

        return noted

    for path in kept:
        layer = alone.get_submodule(path)
        layer.forward = noting(path, layer.forward)
        if hasattr(layer, "inplace"):
            layer.inplace = False  # type: ignore[assignment]
    call = form.arguments([each.clone() for each in examples])
    with torch.no_grad(), undisturbed_random_numbers():
        try:
            alone(*call.args, **call.kwargs)
        except Exception:
            # What fails here fails once more, and is told then.
            return {}
    return seen


@contextmanager
def _watched(
    net: nn.Module,
    exported: Exported,
    kept: Collection[str],
    opaque: Collection[str],
    seen: dict[str, list[SeenCall | None]],
) -> Iterator[None]:
    """A block in which calls of layers are kept, or looked at, and nothing waits for gradients."""
    modules = [(path, module, vars(module).get("forward")) for path, module in net.named_modules()]
    for path, module, own in modules:
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
        if path in kept:
            exported.kept.keep_layer(module, path, seen.get(path, []), path in opaque)
        elif path and own is None:
            front = batch_in_front(module)
            if front is None:
                _note_identity(module, path, exported)
            else:
                module.forward = front
    try:
        yield
    finally:
        for _, module, own in modules:
            vars(module).pop("forward", None)
            if own is not None:
                module.forward = own


def _note_identity(module: nn.Module, path: str, exported: Exported) -> None:
    forward = module.forward

    def noting(*args: Any, **kwargs: Any) -> Any:
        written = [each._version for each in args if isinstance(each, Tensor)]
        result = forward(*args, **kwargs)
        alone = len(args) == 1 and not kwargs and isinstance(result, Tensor) and result is args[0]
        # What was written in place is the very tensor too.
        if alone and written == [result._version]:
            exported.identities.append(path)
        return result

    module.forward = noting


def _functions(exported: Exported, net: nn.Module) -> AbstractContextManager[None]:
    """A block in which functions with a gradient of their own are noticed, and kept where the training form is made."""

    def seen() -> None:
        exported.own_gradients = True

    def keep(module: OwnGradient, value: Tensor, tensors: Sequence[Tensor]) -> Any:
        name = f"own_gradient_{len(exported.kept.calls)}"
        net.add_module(name, module)
        return exported.kept.keep("call_module", name, (value, *tensors), {}, value)

    return functions_as_calls(seen, keep if net.training else None)
