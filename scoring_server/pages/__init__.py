"""Pages for people: one to try the model at `/`, one of its API at `/docs`."""
