"""Environments as values: described by an EnvSpec, built once, found again by key."""
