"""The ways to make environments."""
