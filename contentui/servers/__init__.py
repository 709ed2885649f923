"""Servers on a store."""
