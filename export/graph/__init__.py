"""The graph between networks and file formats, of integers or in floats: lowered, checked, rewritten, interpreted.

In: a calibrated :class:`~qtorch.network.quantized_network.QuantizedNetwork`. Out: a frozen
:class:`~export.graph.ir.Graph`. Everything that is written or measured is made of it.
"""
