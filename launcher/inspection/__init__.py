"""What a machine has, and what a model needs of it; changes nothing."""
