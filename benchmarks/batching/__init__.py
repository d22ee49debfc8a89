"""What batching brings that proves itself."""
