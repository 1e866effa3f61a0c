"""The quantized network: quantizers and ops, float, fake and exact mode, calibration, what a state says of itself.

In: what :mod:`qtorch.preparation` puts together. Out: the same network trained, which :mod:`export.graph` reads.
"""
