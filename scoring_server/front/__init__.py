"""The process that holds all connections and the queue; it never runs the model."""
