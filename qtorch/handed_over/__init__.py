"""What somebody hands over, made into tensors or refused in words: arrays, lists of numbers, batches, loaders.

In: data in any form, and how many inputs a network takes. Out: samples and targets, tensors of as many rows.
"""
