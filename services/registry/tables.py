"""The registry's tables. The migrations make them; a test compares the two.

``moves`` holds every change of what an alias names, the automatic ones included: it answers ``served?at=``. The alias
log is the part of it with ``logged`` set: what somebody decided, not what followed from it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

STORED = "stored"
THINNING = "thinning"
THINNED = "thinned"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes, also in SQLite, which knows none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Only aware datetimes are stored, in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: the registry stores UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """What SQLite returns without a zone is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


RowId = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Declarative base with named constraints, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime}  # noqa: RUF012 - SQLAlchemy reads it from the class


class RegistryRow(Base):
    """One row: the identity of this registry, which names its Kafka transactions."""

    __tablename__ = "registry"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)


class ModelRow(Base):
    """A model; its row is the lock under which all its changes are made."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    latest: Mapped[int] = mapped_column(Integer, default=0)


class VersionRow(Base):
    """A version. ``ordinal`` counts the versions of its candidate from 1; ``state`` goes stored, thinning, thinned."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("name", "candidate", "spec", "log_id", "examples_offset"),
        Index(None, "name", "candidate", "ordinal", unique=True),
        Index(None, "name", "state", "candidate", "ordinal"),
        Index(None, "name", "sha256"),
    )

    name: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    candidate: Mapped[str] = mapped_column(String(64))
    ordinal: Mapped[int] = mapped_column(Integer)
    spec: Mapped[str] = mapped_column(String(64))
    log_id: Mapped[str] = mapped_column(String(64))
    examples_offset: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    signature: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16), default=STORED)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(64))


class AliasRow(Base):
    """What an alias names now."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(80), primary_key=True)
    candidate: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(Integer)
    live: Mapped[bool]
    revision: Mapped[int] = mapped_column(BigInteger)
    previous: Mapped[int | None] = mapped_column(Integer)
    actor: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(500))
    at: Mapped[datetime]


class MoveRow(Base):
    """One change of an alias, never updated or deleted."""

    __tablename__ = "moves"
    __table_args__ = (
        Index(None, "name", "alias", "at", "revision"),
        Index(None, "name", "logged", "revision"),
        Index(None, "name", "logged", "version"),
    )

    name: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    alias: Mapped[str] = mapped_column(String(80))
    candidate: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(Integer)
    live: Mapped[bool]
    previous: Mapped[int | None] = mapped_column(Integer)
    logged: Mapped[bool]
    actor: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(500))
    at: Mapped[datetime]


class OutboxRow(Base):
    """A record of ``<name>.models`` that waits for the broker's acknowledgement, in the order of ``id``."""

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "name", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(ForeignKey("models.name"))
    alias: Mapped[str] = mapped_column(String(80))
    record: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime]


class SpecRow(Base):
    """The canonical form of a pipeline file by its hash."""

    __tablename__ = "specs"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class TokenRow(Base):
    """An API token by its name: the sha256 of it, never itself. A revoked one stays, for the log's sake."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("sha256"),)

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
