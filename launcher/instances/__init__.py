"""The launchers that serve on this machine, and how others find and ask them."""
