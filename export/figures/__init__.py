"""How good a network is: figures by stage, errors by tensor, and what is advised and judged from them.

In: a trained network and its data. For bundles, reports and commands.
"""
