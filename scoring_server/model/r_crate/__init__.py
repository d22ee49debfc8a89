"""R's crates: functions that MLflow's R package saved, run by an R process behind pipes."""
