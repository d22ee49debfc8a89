"""Large bodies in each format: what reading one costs, and what memory it takes."""
