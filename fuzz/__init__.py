"""Fuzzing of everything that decodes bytes from outside: ``python -m fuzz --help``."""
