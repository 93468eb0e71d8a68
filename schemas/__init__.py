"""Contracts: every stream that another program can read, one module a stream.

The Structs are the contract; JSON Schema under ``json/``, ``asyncapi.json`` and ``docs/topics.md`` follow from them
(``python -m schemas.generate --check``), and the golden examples under ``golden/`` are records of them. Evolution is
additive: a new field has a default. What was released lies under ``released/``, and today's contracts are held against
it (``python -m schemas.release --check``).
"""
