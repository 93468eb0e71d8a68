"""Examples that run: a pipeline on real data."""
