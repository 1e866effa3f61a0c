"""Training with PyTorch Lightning: the callback that quantizes, tasks, data, checkpoints, the command line.

In: a LightningModule and a LightningDataModule. Out: a checkpoint that opens as the network that was trained. For
scripts and configurations of users, recipes and exports.
"""
