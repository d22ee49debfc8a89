"""What tracking servers and local stores know of runs and models."""
