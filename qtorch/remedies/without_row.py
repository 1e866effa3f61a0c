"""Remedies for calls that no row is the nearest form of: several ops together, or none; the others stand in their rows.

:mod:`qtorch.remedies.elementwise` has what rows of elementwise ops say.
Exact forms come before such as change the network, and where there is none it is said. Tests build every layer and call
every function of PyTorch that can be built and called alone, and try what is written here.
"""

from __future__ import annotations

from collections.abc import Mapping

from qtorch.remedies.asked import CLIPPED, PRODUCT, RANDOM, Remedy, always, none
from qtorch.remedies.normalizations import batch_norm, group_norm, instance_norm, layer_norm, response_norm, rms_norm

__all__ = ["WITHOUT_ROW"]

_RECURRENT = (
    "give nn.LSTM, nn.GRU and nn.RNN samples first, by batch_first=True or x.permute(1, 0, 2), a fixed number of "
    "steps, at most 64 (192 of an nn.RNN) unless it is an LSTM without proj_size that begins with zeros; begin with "
    "zeros, or with h.unsqueeze(0); of an LSTM of more steps, do not read c_n. Anything else write as a loop of "
    "nn.LSTMCell, nn.GRUCell or nn.RNNCell: docs/bring_your_network.md, 'A recurrent layer'"
)
_START = (
    "begin with zeros of the batch's size, torch.zeros(x.shape[0], n) in float32 with an input x of two axes or more, "
    "and add another value behind it; or with x[:, 0, :1] * self.zeros, self.zeros being a buffer; or make the state "
    "an input of the network"
)
_NO_COMPARISON = none(
    "no comparison alone can; torch.where(x > 0, a, b), x * (x > 0) and (x > 0).float() make numbers of one, "
    "scores.masked_fill(x > 0, -1e9) in front of a softmax is a mask, and F.relu, "
    "torch.maximum and torch.minimum choose between numbers"
)
_NO_INDEX = none(
    "of indices the device returns those of x.argmax(1), x.argmin(1), x.max(1) and x.topk(1); return what others are "
    "taken of, and take them in the firmware"
)
_OTHER_TYPE = none("float32 is the type of networks; of an index, make a vector of zeros and a one outside the network")
_SPECTRUM = none(
    "transforms of at most 1024 numbers along axes of a sample are products with constants, torch.stft and torch.istft "
    "with a window that is a buffer among them; phases, angle(), have no form"
)
_SPREAD = "leave it out: additions and products spread an axis of size 1 by themselves"


_ATTENTION = none(
    "of attention there is the form with the batch's axis in front, boolean masks that are parameters or buffers, and "
    "no dropout in evaluation"
)

#: By the call's name without underscores, in small letters.
WITHOUT_ROW: Mapping[str, Remedy] = {
    # Activations.
    "gumbelsoftmax": always(RANDOM),
    # Normalizations.
    "batchnorm": batch_norm,
    "batchnorm3d": batch_norm,
    "syncbatchnorm": batch_norm,
    "groupnorm": group_norm,
    **dict.fromkeys(("instancenorm", "instancenorm1d", "instancenorm2d", "instancenorm3d"), instance_norm),
    "layernorm": layer_norm,
    "rmsnorm": rms_norm,
    "localresponsenorm": response_norm,
    "crossmaplrn2d": always(
        none("it writes channel by channel; nn.LocalResponseNorm, of nearly the same sums, changes the network")
    ),
    # Shapes.
    **dict.fromkeys(("expand", "expandas", "broadcastto"), always(_SPREAD)),
    "to": always(_OTHER_TYPE),
    # Images.
    **dict.fromkeys(("gridsample", "affinegrid"), always(none("pixels lie where the shape says, not where data do"))),
    # Arithmetic.
    **{f"fft{name}{axes}": always(_SPECTRUM) for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
       for axes in ("", "2", "n")},
    **dict.fromkeys(("stft", "istft", "angle"), always(_SPECTRUM)),
    "pairwisedistance": always(none("of the distances that are sums of powers there is the one of squares alone, p=2")),
    "pdist": always(PRODUCT),
    **dict.fromkeys(("bilinear", "scaledmm", "scaledgroupedmm", "groupedmm", "imatmul"), always(PRODUCT)),
    **dict.fromkeys(("scaleddotproductattention", "multiheadattention", "multiheadattentionforward", "transformer",
                     "transformerencoder", "transformerdecoder", "transformerencoderlayer", "transformerdecoderlayer"),
                    always(_ATTENTION)),
    **dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne", "where", "maskedfill", "heaviside"),
                    always(_NO_COMPARISON)),
    **dict.fromkeys(("argmax", "argmin", "topk", "sort", "argsort"), always(_NO_INDEX)),
    **dict.fromkeys(
        ("index", "indexselect"),
        always(none("places along one axis that the network knows are; for a new axis use unsqueeze")),
    ),
    "embeddingrenorm": always(CLIPPED),
    # Others.
    **dict.fromkeys(("lstm", "gru", "rnn", "rnnbase", "lstmcell", "grucell", "rnncell"), always(_RECURRENT)),
    **{f"{kind}{name}": always(_START) for kind in ("", "new") for name in ("zeros", "ones", "full", "empty")},
    **{f"{name}like": always(_START) for name in ("zeros", "ones", "full", "empty")},
    **dict.fromkeys(("rand", "randn", "randlike", "randnlike", "bernoulli"), always(RANDOM)),
    "kldiv": always(none("a loss belongs into the training step, behind the network")),
    "adaptivelogsoftmaxwithloss": always(none("a loss belongs into the training step, behind the network")),
}  # fmt: skip
