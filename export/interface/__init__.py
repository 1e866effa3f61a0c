"""A network's inputs and outputs as firmware sees them: how they lie in memory, and what their numbers are.

In: a graph and features. For headers, reports and commands.
"""
