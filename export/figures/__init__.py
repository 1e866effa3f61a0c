"""Figures of networks: by stage, by tensor, and what they say."""
