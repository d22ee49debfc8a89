"""Bodies: CSV, JSON and Parquet into the model's input, its answer into JSON."""
