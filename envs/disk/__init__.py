"""The launcher's home folder: files and locks."""
