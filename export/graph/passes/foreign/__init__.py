"""Passes on graphs of files that others wrote: forms that rows know, and fewer operators with the same integers."""
