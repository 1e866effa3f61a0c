"""What a step of a LightningModule does: its batches, what the network receives in it, and how it is undone.

In: a module and a loader. Out: the network's inputs. For the callback, and for exports that look at a run.
"""
