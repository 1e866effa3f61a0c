"""How good a network is: figures by stage, errors by tensor, and what is advised and judged from them.

In: a :class:`~export.figures.subject.Subject`, a trained network with its data. For bundles, reports and commands.
"""
