"""The quantized network: quantizers and ops, what they compute in which mode, calibration, what a state says of itself.

In: what :mod:`qtorch.preparation` puts together. Out: the same network trained, which :mod:`export.graph` reads.

A layer is a :class:`~qtorch.network.quantized_op.QuantizedOp`: a module that has constants (`layer_constants`,
`weight_grid`) and a route (`routes`) that its mode chooses, between the quantizers (`quantizer`) of its tensors.
"""
