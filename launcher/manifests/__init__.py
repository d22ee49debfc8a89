"""Manifests: how a platform is told to run an image, as values that a YAML library writes."""
