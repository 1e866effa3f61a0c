"""What an export asks of a trained Lightning run: its real inputs, its pairs, its titles, the test as it was.

In: a checkpoint. Out: a :class:`~export.figures.subject.Subject`. For commands and recipes alone.
"""
