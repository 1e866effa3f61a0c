"""What the user wrote, as a graph of calls: captured, compared with the network itself, refused where it differs.

In: a network and an example. Out: a :class:`~qtorch.capture.capture.Capture`. For :mod:`qtorch.preparation`;
:mod:`~qtorch.capture.nodes` is for whoever reads a traced graph.
"""
