"""What an inference takes: bytes, instructions, time and energy, on emulated machines and boards.

In: a :class:`~export.graph.ir.Graph` and a board. For bundles, reports and commands.
"""
