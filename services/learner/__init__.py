"""The learner: predictions meet their late labels (stage ``join``), and every label is learned from (stage ``train``).

- **join** keeps the ledger: each label ends in one outcome (labelled, corrected, duplicate, superseded, orphan), each
  prediction is labelled or expires. Labelled pairs become ``examples``, the models' history.
- **train** is a fold of ``examples``: it teaches every candidate, measures each on the score that was given before the
  label was known, publishes versions to the registry and live parameters to ``parameters``.

``core`` holds what is decided, without Kafka; ``joining`` and ``training`` drive it on its lanes.
"""
