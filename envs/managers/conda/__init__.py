"""Environments of conda packages, built without conda."""
