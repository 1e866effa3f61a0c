"""All files of an export: made in memory, verified, and written as a whole or not at all.

In: a :class:`~export.figures.subject.Subject` and options. Out: a folder. For :mod:`export.commands` and
whoever exports from a script.
"""
