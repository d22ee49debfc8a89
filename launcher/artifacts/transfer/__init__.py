"""From a store into the cache of fetched models."""
