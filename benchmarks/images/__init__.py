"""Images of one model, ours and MLflow's."""
