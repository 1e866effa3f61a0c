"""The quantized network: its quantizers and layers, its modes, its state."""
