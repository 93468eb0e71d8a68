"""The first schema: models, versions, aliases and their moves, outbox, specs."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make every table, and give this registry its identity."""
    registry = op.create_table(
        "registry", sa.Column("id", sa.String(36), nullable=False), sa.PrimaryKeyConstraint("id", name="pk_registry")
    )
    op.bulk_insert(registry, [{"id": str(uuid.uuid4())}])
    _models_and_versions()
    _aliases_and_moves()
    op.create_table(
        "outbox",
        sa.Column("id", _ROW_ID, nullable=False, autoincrement=True),
        sa.Column("name", sa.String(64), sa.ForeignKey("models.name", name="fk_outbox_name"), nullable=False),
        sa.Column("alias", sa.String(80), nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_name_id", "outbox", ["name", "id"])
    op.create_table(
        "specs",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_specs"),
    )


def _models_and_versions() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_table(
        "versions",
        sa.Column("name", sa.String(64), sa.ForeignKey("models.name", name="fk_versions_name"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("candidate", sa.String(64), nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("spec", sa.String(64), nullable=False),
        sa.Column("log_id", sa.String(64), nullable=False),
        sa.Column("examples_offset", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_versions"),
        sa.UniqueConstraint(
            "name",
            "candidate",
            "spec",
            "log_id",
            "examples_offset",
            name="uq_versions_name_candidate_spec_log_id_examples_offset",
        ),
    )
    op.create_index("ix_versions_name_candidate_ordinal", "versions", ["name", "candidate", "ordinal"], unique=True)
    op.create_index("ix_versions_name_state_candidate_ordinal", "versions", ["name", "state", "candidate", "ordinal"])
    op.create_index("ix_versions_name_sha256", "versions", ["name", "sha256"])


def _alias_columns(table: str) -> list[sa.Column[Any]]:
    return [
        sa.Column("name", sa.String(64), sa.ForeignKey("models.name", name=f"fk_{table}_name"), nullable=False),
        sa.Column("alias", sa.String(80), nullable=False),
        sa.Column("candidate", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("previous", sa.Integer, nullable=True),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("at", _TIME, nullable=False),
    ]


def _aliases_and_moves() -> None:
    op.create_table("aliases", *_alias_columns("aliases"), sa.PrimaryKeyConstraint("name", "alias", name="pk_aliases"))
    op.create_table(
        "moves",
        *_alias_columns("moves"),
        sa.Column("logged", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("name", "revision", name="pk_moves"),
    )
    op.create_index("ix_moves_name_alias_at_revision", "moves", ["name", "alias", "at", "revision"])
    op.create_index("ix_moves_name_logged_revision", "moves", ["name", "logged", "revision"])
    op.create_index("ix_moves_name_logged_version", "moves", ["name", "logged", "version"])
