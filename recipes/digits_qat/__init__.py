"""Handwritten digits: a small picture to the digit it shows."""
