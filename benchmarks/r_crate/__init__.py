"""A model of R's beside httpuv: `python -m benchmarks.r_crate`."""
