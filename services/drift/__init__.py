"""drift: tells people when and why what the pipeline sees stops being what it saw.

Stage ``summarise`` (lane p: predictions-p, and for lane 0 the one partition of examples) reduces records to mergeable
parts of blocks. Stage ``detect`` folds ``summaries`` alone: it merges parts into blocks by event time, compares each
block with a reference of earlier ones, and turns flags into incidents on ``alerts``.

Read ``core/summarise.py`` and ``core/detect.py`` first; ``core/cusum.py`` says what a flag is, ``core/incidents.py``
what becomes of it.

The constants are chosen on the first 60 days of the flights example (with distances in kilometres from 14 to 21
February, so that this is flagged within two days and winter weather stays a handful of incidents): K and the default h
as measured before, LARGEST, LEARNING and TOGETHER by the number of incidents. The rest of the year was looked at, not
fitted: 26 incidents, all of them weather. With six such weeks spread over the year, every one of a changed unit was
flagged: of distance or duration within 1.5 days, of temperature within 2.5; of wind speed none was, for gales move it
as far. Soiled by the replay and then cleaned, the 60 days have six incidents, the kilometres among them.
"""
