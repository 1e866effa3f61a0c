"""How a network is called: where its input tensors stand among its arguments, and what it hands back.

A device reads tensors in a row. A network may be called with keywords, optional arguments, and tensors in dicts and
lists, and may return such; one example call says which, and every later call has to be of the same form.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from qtorch.errors import BadConfiguration, BadData

__all__ = [
    "Arguments",
    "CallForm",
    "OutputForm",
    "arguments_of",
    "binds",
    "call_form",
    "output_form",
    "signature_of",
    "tensors_in",
]


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call of a network.

    Attributes:
        args: by position.
        kwargs: by name.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


#: Dataclasses that can't be made of their fields.
_CLOSED: set[type] = set()
#: What may stand beside the tensors that a network returns.
_PLAIN = (type(None), bool, int, float, str)


def signature_of(net: nn.Module) -> inspect.Signature:
    """What a network's ``forward`` takes, without the types of it, which need not be known elsewhere."""
    form = getattr(net, "form", None)
    if isinstance(form, CallForm):
        return form.signature
    signature = inspect.signature(net.forward)
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return inspect.Signature(plain)


def arguments_of(signature: inspect.Signature, example: Any) -> Arguments:
    """The call that an example stands for.

    Args:
        signature: of the network's ``forward``.
        example: a tensor or NumPy array is the one argument; a tuple has an argument in each place, as has a list,
            unless ``forward`` takes fewer; a dict has them by name, unless ``forward`` has no such names, and then it
            is the one argument.
    """
    if isinstance(example, Arguments):
        return example
    if isinstance(example, tuple) and not hasattr(example, "_fields"):
        return Arguments(example, {})
    if isinstance(example, list):
        return Arguments(tuple(example), {}) if binds(signature, *example) else Arguments((example,), {})
    if isinstance(example, Mapping):
        named = dict(example)
        known = [name for name in named if name in signature.parameters]
        open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
        if known and (len(known) == len(named) or open_ended) and binds(signature, **named):
            return Arguments((), named)
    return Arguments((example,), {})


def binds(signature: inspect.Signature, *args: Any, **kwargs: Any) -> bool:
    """Whether a call can be made with these arguments."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


class _Tensor:
    """What stands for a tensor among constants."""

    def __repr__(self) -> str:
        return "TENSOR"

    def __reduce__(self) -> str:
        return "_TENSOR"


_TENSOR = _Tensor()


class _Form:
    """Values that nest, tensors apart."""

    whole: Any

    @cached_property
    def _flat(self) -> tuple[list[Any], pytree.TreeSpec]:
        return pytree.tree_flatten(_opened(self.whole))

    @property
    def _constants(self) -> list[Any]:
        return self._flat[0]

    def _with(self, tensors: Iterable[Any]) -> Any:
        """The whole, with these in the places of tensors."""
        rest = iter(tensors)
        return pytree.tree_unflatten(
            [next(rest) if each is _TENSOR else each for each in self._constants], self._flat[1]
        )


@dataclass(frozen=True)
class CallForm(_Form):
    """A network's arguments, tensors apart.

    Attributes:
        signature: of the network's ``forward``.
        whole: the arguments, all by name; :data:`_TENSOR` where a tensor comes in, and else constants.
        names: of the tensors, in their order; what a person calls them.
    """

    signature: inspect.Signature
    whole: dict[str, Any]
    names: tuple[str, ...]

    def __reduce__(self) -> Any:
        return CallForm, (self.signature, self.whole, self.names)

    def arguments(self, tensors: Iterable[Any]) -> Arguments:
        """The call with these tensors, one for each name; what has its default is left out."""
        whole = self._with(tensors)
        defaults = {name: each.default for name, each in self.signature.parameters.items()}
        handed_in = {name: value for name, value in whole.items() if value is not defaults[name]}
        bound = inspect.BoundArguments(self.signature, handed_in)
        return Arguments(bound.args, bound.kwargs)

    def tensors(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The tensors of a call of this form; those alone, one by one, are such a call too.

        Raises:
            BadData: the call has another form, or an argument has another value than the example's.
        """
        if not kwargs and len(args) == len(self.names):
            for each in args:
                if type(each) is not Tensor and not _is_tensor(each):
                    break
            else:
                return args
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise self._other_form(str(error)) from None
        bound.apply_defaults()
        leaves, spec = pytree.tree_flatten(_in_order(self.whole, dict(bound.arguments)))
        if spec != self._flat[1]:
            raise self._other_form(_described(bound.arguments))
        leaves = [torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves]
        for name, expected, got in zip(self._leaf_names(), self._constants, leaves, strict=True):
            if expected is _TENSOR and not _is_tensor(got):
                raise self._other_form(f"{name}: {type(got).__name__}")
            if expected is not _TENSOR and (_is_tensor(got) or not _same(expected, got)):
                raise BadData(
                    where=f"argument {name!r} of the network",
                    expected=f"{expected!r}, as in the example that it was prepared with",
                    got="a tensor" if _is_tensor(got) else repr(got),
                    remedy="prepare the network with an example call that has it",
                )
        return tuple(got for expected, got in zip(self._constants, leaves, strict=True) if expected is _TENSOR)

    def _leaf_names(self) -> list[str]:
        return [_name(path) for path, _ in pytree.tree_flatten_with_path(self.whole)[0]]

    def _other_form(self, got: str) -> BadData:
        return BadData(
            where="the network's arguments",
            expected=f"{len(self.names)} tensor{'s' * (len(self.names) > 1)} ({', '.join(self.names)}), given as in "
            "the example that it was prepared with, or one after the other",
            got=got,
            remedy="call it in that way; where batches hold more than inputs and one target, pass the inputs alone, "
            "for example (x for x, *_ in loader)",
        )


def _in_order(example: Any, value: Any) -> Any:
    """``value`` with the keys of every dict in the order that they have in ``example``."""
    if isinstance(example, dict) and isinstance(value, dict) and example.keys() == value.keys():
        return {key: _in_order(each, value[key]) for key, each in example.items()}
    if type(example) is type(value) and type(value) in (list, tuple) and len(example) == len(value):
        return type(value)(_in_order(*pair) for pair in zip(example, value, strict=True))
    return value


def call_form(net: nn.Module, arguments: Arguments, taken: Collection[str] = ()) -> tuple[CallForm, list[Tensor]]:
    """The form of a call, and its tensors.

    Args:
        net: that is called.
        arguments: its arguments; NumPy arrays count as tensors.
        taken: names that no input may have.

    Raises:
        BadConfiguration: they are not what ``forward`` takes, or no tensor is among them.
    """
    signature = signature_of(net)
    try:
        bound = signature.bind(*arguments.args, **arguments.kwargs)
    except TypeError as error:
        raise BadConfiguration(
            where="example_input",
            expected=f"the arguments of {type(net).__name__}.forward{signature}",
            got=f"{_described(arguments.args or arguments.kwargs)}: {error}",
            remedy="pass a tensor, a tuple with an argument in each place, or a dict of arguments by name",
        ) from None
    bound.apply_defaults()
    paths, spec = pytree.tree_flatten_with_path(_opened(dict(bound.arguments)))
    leaves = [torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf for _, leaf in paths]
    names = [_name(path) for (path, _), leaf in zip(paths, leaves, strict=True) if isinstance(leaf, Tensor)]
    if not names:
        raise BadConfiguration(
            where="example_input",
            expected="a tensor, or several in a tuple, list or dict",
            got=_described(arguments.args or arguments.kwargs),
            remedy="pass one batch as the network is called with it",
        )
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    form = CallForm(
        signature,
        pytree.tree_unflatten([_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves], spec),
        tuple(_free(name, taken) for name in names),
    )
    return form, tensors


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_input"
    return name


def _name(path: tuple[Any, ...]) -> str:
    """``batch_image`` for ``batch["image"]``, ``xs_0`` for ``xs[0]``; letters, digits and underscores."""
    parts = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
    return "".join(sign if sign.isalnum() else "_" for sign in "_".join(parts))


def _described(arguments: Any) -> str:
    """Arguments by their types and shapes, on one line."""
    return str(pytree.tree_map(_leaf, dict(arguments) if isinstance(arguments, Mapping) else arguments)).replace(
        "'", ""
    )


def _leaf(value: Any) -> str:
    return f"{type(value).__name__}{list(value.shape)}" if hasattr(value, "shape") else f"{value!r:.40}"


def _same(expected: Any, got: Any) -> bool:
    return expected is got or (type(expected) is type(got) and bool(expected == got))


def tensors_in(values: Any) -> tuple[Tensor, ...]:
    """The tensors that a network took or returned, from whatever they stand in, in the order of the device's."""
    return (values,) if _is_tensor(values) else tuple(t for t in pytree.tree_leaves(_opened(values)) if _is_tensor(t))


def _opened(values: Any) -> Any:
    """Values among whose dataclasses torch knows every one: a network may return such without having told it so."""
    unknown = {type(leaf) for leaf in pytree.tree_leaves(values) if is_dataclass(leaf) and not isinstance(leaf, type)}
    for kind in unknown.difference(_CLOSED):
        try:
            pytree.register_dataclass(kind)
        except ValueError:
            # One whose constructor does not take all of its fields.
            _CLOSED.add(kind)
    return _opened(values) if unknown.difference(_CLOSED) else values


def _is_tensor(value: Any) -> bool:
    """Whether a value is a tensor."""
    return isinstance(value, Tensor)


@dataclass(frozen=True)
class OutputForm(_Form):
    """What a network returns, tensors apart.

    Attributes:
        whole: it, with :data:`_TENSOR` where a tensor stands.
    """

    whole: Any

    def __reduce__(self) -> Any:
        return OutputForm, (self.whole,)

    def rebuilt(self, outputs: Tensor | tuple[Tensor, ...]) -> Any:
        """What the network returned, of the tensors of its outputs."""
        return self._with(tensors_in(outputs))


def output_form(result: Any) -> tuple[OutputForm | None, Any]:
    """How a network returns its outputs, and these alone: a tensor, or a tuple of them.

    ``None`` where it returns just that.

    Args:
        result: with a tensor at each leaf; ``None``, numbers and words may stand beside them, and stay what they are.
    """
    leaves, spec = pytree.tree_flatten(_opened(result))
    outputs = tuple(leaf for leaf in leaves if not isinstance(leaf, _PLAIN))
    if spec.is_leaf() or (
        type(result) is tuple
        and all(a is b for a, b in zip(leaves, result, strict=False))
        and len(outputs) == len(result)
    ):
        return None, result
    form = OutputForm(pytree.tree_unflatten([leaf if isinstance(leaf, _PLAIN) else _TENSOR for leaf in leaves], spec))
    return form, outputs[0] if len(outputs) == 1 else outputs
