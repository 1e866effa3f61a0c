"""Networks that nobody here wrote, each through an export, and through another converter."""
