"""ONNX files in QDQ form, and their proof."""
