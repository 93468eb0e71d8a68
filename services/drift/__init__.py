"""drift: tells people when and why what the pipeline sees stops being what it saw.

Stage ``summarise`` (lane p: predictions-p, and for lane 0 the one partition of examples) reduces records to mergeable
parts of blocks. Stage ``detect`` folds ``summaries`` alone: it merges parts into blocks by event time, compares each
block with a reference of earlier ones, and turns flags into incidents on ``alerts``.

Read ``core/summarise.py`` and ``core/detect.py`` first; ``core/cusum.py`` says what a flag is, ``core/incidents.py``
what becomes of it.
"""
