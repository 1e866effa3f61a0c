"""An export as one call: a network that any loop trained in, a :class:`~export.bundle.bundle.Bundle` out.

In: a network, data in whatever form they come, choices by name. For :mod:`export`, which gives its function by name.
"""
