"""Environments made by the virtualenv library and filled by uv."""
