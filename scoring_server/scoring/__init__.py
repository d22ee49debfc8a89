"""From a request's body to the answer's body."""
