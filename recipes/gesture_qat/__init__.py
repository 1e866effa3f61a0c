"""Gestures: 50 samples of an accelerometer's three axes to the kind of motion."""
