"""What a start costs, and what further workers do."""
