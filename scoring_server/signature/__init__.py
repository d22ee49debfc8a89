"""What a request must bring, compiled from the model's signature."""
