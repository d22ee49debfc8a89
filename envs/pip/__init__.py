"""What comes from a package index: read, resolved, locked and installed by uv."""
