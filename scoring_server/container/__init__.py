"""The scoring server in a container of its own: process 1, settings, processors."""
