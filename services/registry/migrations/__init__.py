"""Alembic migrations, run in one transaction when the registry starts (``services.registry.database.migrate``)."""
