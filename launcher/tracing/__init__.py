"""Traces: the scoring server tells of its requests, and the launcher exports spans of them."""
