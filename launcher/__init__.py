"""Serve MLflow Models in the environment they were logged with, supervised."""
