"""Traces: what the front tells the launcher of each request, and how a model's own spans join."""
