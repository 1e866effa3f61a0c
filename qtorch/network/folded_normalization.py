"""A normalization of a network's inputs folded into the layer behind it.

In front of a linear layer or a convolution it costs the device nothing: ``w (x - o) / s + b`` is a layer with other
constants, ``(w / s) x + (b - w o / s)``, as a batch norm behind a layer is. Where that does not hold it stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from qtorch.config import LayerConfig
from qtorch.normalization import Normalization

__all__ = ["FoldedNormalization", "fold"]

#: How many times as wide as another a feature's span may be for both to be folded into weights that share a scale:
#: the weights of the wider one are that much smaller then, and lose a bit at 2.
_MOST_SPREAD = 2.0


def fold(weight: Tensor, bias: Tensor | None, offset: Tensor | None, span: Tensor) -> dict[str, Tensor]:
    """Weight (same shape) and bias ``[O]`` of a layer that takes what ``normalize`` would take.

    Args:
        weight: float32 ``[O, ...]``.
        bias: float32 ``[O]``, or ``None``; then there is none in the result either where the offset is ``None``.
        offset: of what each weight is multiplied with; broadcasts to ``weight``; ``None`` for 0.
        span: likewise.
    """
    narrowed = weight / span
    if offset is None:
        return {"weight": narrowed} if bias is None else {"weight": narrowed, "bias": bias}
    # In double and rounded once, because devices add up in different orders.
    shift = (narrowed * offset).flatten(1).sum(1, dtype=torch.float64).to(weight.dtype)
    return {"weight": narrowed, "bias": -shift if bias is None else bias - shift}


@dataclass(frozen=True)
class FoldedNormalization:
    """A normalization in a layer's weights.

    Attributes:
        norm: the module, which stays where it stands in the network.
        index: int64, broadcasts to the layer's weight: which of the offsets belongs to what a weight is multiplied
            with; 0 throughout where there is one for all.
        shifts: whether an offset is other than 0.
    """

    norm: Normalization
    index: Tensor
    shifts: bool
    #: The index where it was last needed: to send it anew in every step would make the program wait.
    _sent: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def into(
        cls, norm: Normalization, channels: Tensor, weight: Tensor, *, pads: bool, config: LayerConfig
    ) -> FoldedNormalization | None:
        """``None`` where it would be wrong, or would cost the weights more than a bit.

        Args:
            norm: what stands in front.
            channels: int64, one sample's shape as the layer reads it: which of the offsets each element has.
            weight: ``[O, I]`` of a linear layer, ``[O, I / groups, ...]`` of a convolution.
            pads: whether the layer puts zeros around its input; a zero there is no normalized zero.
            config: of the layer.
        """
        shifts = bool(norm.offset.any())
        if pads and shifts:
            return None
        along = -1 if weight.dim() == 2 else 0
        inputs = channels.movedim(along, 0)
        inputs = inputs.reshape(len(inputs), -1)
        if not bool((inputs == inputs[:, :1]).all()):
            return None
        outputs, width = weight.shape[:2]
        # A row for each group, and where there are several, for each output channel.
        index = inputs[:, 0].reshape(-1, width)
        if len(index) > 1:
            index = index.repeat_interleave(outputs // len(index), 0)
        spans = norm.span.reshape(-1)[index]
        shared = spans if config.weights == "per_channel" else spans.flatten()
        if bool((shared.amax(-1) > _MOST_SPREAD * shared.amin(-1)).any()):
            return None
        return cls(norm, index.reshape(*index.shape, *[1] * (weight.dim() - 2)), shifts)

    def fold(self, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
        """See :func:`fold`."""
        offset = self.norm.offset.reshape(-1)[self._here] if self.shifts else None
        return fold(weight, bias, offset, self.norm.span.reshape(-1)[self._here])

    def unfold(self, weight: Tensor) -> Tensor:
        """The weight that folding makes ``weight`` of, but for float32's rounding."""
        return weight * self.norm.span.reshape(-1)[self._here]

    @property
    def _here(self) -> Tensor:
        """The index on the device where the network is."""
        device = self.norm.span.device
        if device not in self._sent:
            self._sent.clear()
            self._sent[device] = self.index.to(device)
        return self._sent[device]
