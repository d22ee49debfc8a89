"""Scripts that run in the models' environments, by their Pythons."""
