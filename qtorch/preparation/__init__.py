"""From a captured float network to a quantized one."""
