"""A model's files into something that predicts."""
