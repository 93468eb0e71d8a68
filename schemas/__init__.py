"""Contracts: every stream that another program can read, one module a stream.

The Structs are the contract; JSON Schema under ``json/`` and the golden examples under ``golden/`` follow
from them (``python -m schemas.generate --check``). Evolution is additive: a new field has a default.
"""
