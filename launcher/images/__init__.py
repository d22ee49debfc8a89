"""Container images: from a model to a build context, and from that to an image."""
