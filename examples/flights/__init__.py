"""The flights out of New York in 2013: data set, dirt, replay and pipeline files."""
