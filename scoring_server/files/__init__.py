"""Batch scoring: a file in, a file out, in chunks."""
