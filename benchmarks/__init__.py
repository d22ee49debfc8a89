"""Measurements of the launcher beside other ways to serve the same model."""
