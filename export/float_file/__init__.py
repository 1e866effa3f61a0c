"""A float network out of a .tflite file, as a PyTorch module that can be quantized."""
