"""Observers: how a tensor's range is measured."""
