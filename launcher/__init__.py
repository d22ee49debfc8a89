"""Serve MLflow Models in the environment they were logged with, supervised."""

__version__ = "0.1.0"
