"""Other forms of ops, a file each: :mod:`export.graph.passes.other_forms` has them by name."""
