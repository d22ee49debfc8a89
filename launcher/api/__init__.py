"""The launcher from Python: servers, predictions and environments, each in a process of its own."""
