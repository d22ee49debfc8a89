"""The server on the web: origins, root paths, unix sockets."""
