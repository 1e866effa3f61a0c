"""Training with PyTorch Lightning: module, data, callback, command line, checkpoint."""
