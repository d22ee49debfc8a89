"""The cache of environments on disk."""
