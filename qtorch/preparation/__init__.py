"""From a captured float network to a quantized one: calls become ops, tensors get grids.

In: a :class:`~qtorch.capture.capture.Capture`. Out: a :class:`~qtorch.network.quantized_network.QuantizedNetwork`.
Called by :func:`qtorch.prepare`; its matching and folding also serve :mod:`qtorch.post_training`.
"""
