"""What a configuration says of each layer, who asked for it, and which of it had an effect."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from qtorch.config import LayerConfig, QuantizationConfig
from qtorch.errors import BadConfiguration
from qtorch.preparation.assembly import Plan
from qtorch.preparation.sharing import Sharing
from qtorch.preparation.summed_squares import WIDENED
from qtorch.preparation.unheard_settings import GRID_SETTINGS, WEIGHT_SETTINGS
from qtorch.row.constraints import Indices, SameAs, SymmetricWeight

__all__ = ["LayerSettings"]


class LayerSettings:
    """A configuration as the layers of one network ask for it, each by its name."""

    def __init__(self, config: QuantizationConfig) -> None:
        self.config = config
        #: What was asked for: the node that goes by a name.
        self.named: dict[str, fx.Node] = {}

    def of(self, name: str, node: fx.Node) -> LayerConfig:
        """The settings of the layer ``name``, which is what ``node`` becomes."""
        self.named[name] = node
        return self.config.layer(name)

    def require_known(self) -> None:
        """Refuse a name that no layer has: a wish that nobody hears. A pattern may be one for many networks.

        Raises:
            BadConfiguration: names the layers that there are.
        """
        for name in self.config.layers:
            if name not in self.named and not any(sign in name for sign in "*?["):
                raise BadConfiguration(
                    where=f"layers[{name!r}]",
                    expected=f"one of {', '.join(self.named)}, or a pattern",
                    got="another name",
                    remedy="correct it; what is folded or fused goes by the name of the layer before it",
                )

    def heard(self, plans: Mapping[fx.Node, Plan], sharing: Sharing) -> dict[str, frozenset[str]]:
        """By layer, the fields that have an effect on it."""
        return {name: self._heard(node, plans, sharing) for name, node in self.named.items()}

    def _heard(self, node: fx.Node, plans: Mapping[fx.Node, Plan], sharing: Sharing) -> frozenset[str]:
        """Which settings have an effect on what ``node`` has become."""
        plan = plans.get(node)
        if node not in sharing:
            return frozenset()
        owns = sharing.root(node) is node and sharing.grid(node).fixed is None
        heard = GRID_SETTINGS if owns else frozenset()
        if plan is None:
            return heard | {"activations"}
        if isinstance(plan.row.constraints["output"], Indices):
            return frozenset()
        if isinstance(plan.row.constraints.get("weight"), SymmetricWeight):
            heard |= WEIGHT_SETTINGS
        if not isinstance(plan.row.constraints["output"], SameAs):
            # The widest margin counts where several tensors share a grid.
            heard |= {"margin"}
        heard |= {"squares"} if plan.row.name in WIDENED else frozenset()
        follows = plan.row.selects and len(plan.call.sources) == 1
        return heard | {"skip"} | (frozenset() if follows else {"activations"})
