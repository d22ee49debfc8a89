"""A process that runs the model, and what it says to the front."""
