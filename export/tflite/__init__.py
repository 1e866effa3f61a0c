""".tflite files: written, read, summarized, with their arena, metadata and proof.

In: a :class:`~export.graph.ir.Graph`. Out: bytes, and back.
"""
