"""The Open Inference Protocol beside `/invocations` and MLServer."""
