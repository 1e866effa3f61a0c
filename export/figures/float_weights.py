"""The float network with other weights: those of any network that was prepared from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from qtorch.capture.tracing import is_leaf
from qtorch.errors import BadConfiguration

__all__ = ["weights_loaded"]

#: How the names of parameters end that a float network does not have.
_SCALES = ("log_scale", "log_weight_scale", "zero_share")


def weights_loaded(original: nn.Module, trained: nn.Module, weights: Mapping[str, Any], owner: str) -> nn.Module:
    """A copy of the float network from before it was prepared, in evaluation mode, with other weights.

    Args:
        original: the float network.
        trained: what became of it.
        weights: by name; names that the float network does not have are left out.
        owner: what a person calls whoever has the networks.

    Raises:
        BadConfiguration: what is taken for the float network is another one.
    """
    loaded = copy.deepcopy(original)
    # A lone layer has been prepared as a network of one.
    rooted = nn.Sequential(loaded) if is_leaf(loaded) else loaded
    parameters = [name for name, _ in trained.named_parameters() if not name.endswith(_SCALES)]
    wanted, known = set(rooted.state_dict()), set(parameters) & set(weights)
    try:
        if known and not wanted & known:
            raise RuntimeError(f"{type(loaded).__name__} with {', '.join(sorted(wanted)[:3]) or 'no weights'}")
        rooted.load_state_dict(weights, strict=False)
    # What PyTorch says of shapes that differ.
    except RuntimeError as error:
        raise BadConfiguration(
            where=f"the float network of {owner}",
            expected=f"the network from before it was prepared, with {', '.join(sorted(known)[:3])}, ...",
            got=" ".join(str(error).split())[:200],
            remedy="put the float network into self.net, and let the QuantizationAwareTraining callback prepare it",
        ) from error
    return loaded.eval()
