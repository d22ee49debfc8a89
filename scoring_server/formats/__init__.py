"""Bodies: CSV, JSON, Parquet and Arrow into the model's input, its answer into JSON or Arrow."""
