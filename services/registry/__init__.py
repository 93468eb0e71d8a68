"""The registry: which versions of a model exist, and which of them is served.

A model (named like its pipeline) has versions, each a snapshot of one candidate at one offset of ``examples``, and
aliases: ``champion`` and ``challenger-<candidate>``. The learner publishes versions, people and programs move aliases,
and scoring hears of it on the topic ``<model>.models``. Read on:

- ``app.py``: the wiring; ``api.py``: the HTTP API; ``pages.py``: what people look at, health, metrics
- ``publishing.py``: a new version and what follows from it; ``aliases.py``: who changes what an alias names, and the log
- ``reading.py``: everything that is read back; ``specs.py``: pipeline files by hash
- ``thinning.py``: which snapshots stay; ``blobs.py``: where they lie
- ``outbox.py``, ``publisher.py``, ``topic.py``: how decisions reach Kafka exactly as they are in the database
- ``tables.py``, ``database.py``, ``migrations/``: SQLite or PostgreSQL

Version rows and moves are never deleted (some 500 bytes a version): they say what was served at any time.
"""
