"""Proof that engines agree to the bit."""
