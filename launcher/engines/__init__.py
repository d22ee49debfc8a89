"""What runs inside an environment, as commands."""
