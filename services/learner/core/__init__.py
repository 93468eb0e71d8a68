"""The learner's pure part: the join of predictions with labels, and the fold of examples into models."""
