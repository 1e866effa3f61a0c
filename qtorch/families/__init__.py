"""Arithmetic and matching that several ops share, a family a file."""
