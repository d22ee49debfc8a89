"""Wire protocols, one module each, and the server's own routes."""
