"""ONNX files in QDQ form: written, run by ONNX Runtime, proven op by op.

In: a :class:`~export.graph.ir.Graph`. Out: bytes, and how far ONNX Runtime is off.
"""
