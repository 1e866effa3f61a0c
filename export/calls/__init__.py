"""An export as one call: a network or a checkpoint in, a :class:`~export.bundle.bundle.Bundle` out.

:mod:`export` gives these functions by their names.
"""
