"""Scoring: one prediction for every clean event (stage ``score``), by the champion and its challengers.

Follows ``models`` (decisions) and ``parameters`` (live state): a newer state is verified, canaried and swapped in between
two batches; whatever is refused leaves the old one serving and raises an alert. ``core`` scores, ``follower`` says with
what, ``app`` connects them.
"""
