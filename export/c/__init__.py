"""The network in plain C: kernels chosen, memory planned, sources written, compiled and proven.

In: a :class:`~export.graph.ir.Graph`. Out: a header and a source. Kernels themselves stand in ``firmware/c``.
"""
