"""MLServer as an engine: a server that a package in the model's environment brings."""
