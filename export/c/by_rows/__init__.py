"""Networks that are computed row by row, each layer's next row as soon as the next layer needs it.

Between layers then lie a few rows and no images. A :mod:`section <export.c.by_rows.section>` is a run of nodes that
are computed so; :mod:`schedule <export.c.by_rows.schedule>` says in which order, and how many rows of each tensor that
takes; :mod:`choice <export.c.by_rows.choice>` decides which nodes; :mod:`text <export.c.by_rows.text>` writes it in C.
"""
