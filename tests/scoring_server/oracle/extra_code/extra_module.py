"""Code that is logged with a model (`code_paths`)."""

ANSWER = "from the model's own code"
