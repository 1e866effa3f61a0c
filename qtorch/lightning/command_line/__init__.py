"""What a command line of hundreds of options says: its help, its notices, what is wrong with an option.

For :mod:`qtorch.lightning.cli`, and for other commands that read options.
"""
