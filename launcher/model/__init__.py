"""A model folder, read into a value."""
