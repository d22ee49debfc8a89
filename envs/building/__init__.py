"""What every build needs: its surroundings, its commands, a Python."""
