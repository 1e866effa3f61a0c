"""A network's inputs and outputs as firmware sees them."""
