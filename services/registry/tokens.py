"""API tokens in the registry's database: made once, told once, kept as their sha256, revoked at once.

A token is 256 random bits, so its plain sha256 cannot be turned back: the slow, salted hashes that passwords need would
protect nothing here, and cost every request. Looking one up by its hash tells nobody how much of a guess was right,
since who guesses cannot choose the hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from services.registry.database import Database
from services.registry.tables import TokenRow
from services.runtime.settings import SettingsError

SCOPES = ("read", "publish", "promote")
"""What a token may be for: to read, to publish versions and specs, to move aliases. Each one reads."""
PREFIX = "rvm_"
"""What tokens begin with, so that scanners for leaked secrets know one."""
_BYTES = 32
_MOST = 1000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_NOTED_EVERY = timedelta(minutes=1)


class Token(msgspec.Struct, frozen=True):
    """What may be known of a token."""

    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


def sha256(secret: str) -> str:
    """The form in which a token is kept."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def create(database: Database, name: str, scopes: Iterable[str], now: datetime) -> str:
    """Make a token and return it: nobody can read it again. SettingsError for a name that cannot be had."""
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} cannot name a token: use 1 to 32 of a-z, 0-9, _ and -, a letter or digit first")
    wanted = [scope for scope in SCOPES if scope in set(scopes)]
    secret = PREFIX + secrets.token_urlsafe(_BYTES)
    with database.writing() as session:
        if session.get(TokenRow, name) is not None:
            raise SettingsError(f"there is a token {name!r} already, or was: choose another name, such as {name}-2")
        valid = select(func.count()).select_from(TokenRow).where(TokenRow.revoked_at.is_(None))
        if (session.scalar(valid) or 0) >= _MOST:
            raise SettingsError(f"there are {_MOST} tokens: revoke one first (`rivermill tokens revoke NAME`)")
        session.add(TokenRow(name=name, sha256=sha256(secret), scopes=" ".join(wanted), created_at=now))
    return secret


def listed(database: Database) -> list[Token]:
    """All tokens, the revoked ones too, by name."""
    with database.reading() as session:
        return [_token(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.name))]


def revoke(database: Database, name: str, now: datetime) -> None:
    """From now on the token is worth nothing; SettingsError when there is none. Again: nothing changes."""
    with database.writing() as session:
        row = session.get(TokenRow, name)
        if row is None:
            raise SettingsError(f"there is no token {name!r}: `rivermill tokens list` shows those that there are")
        row.revoked_at = row.revoked_at or now


def find(database: Database, secret: str) -> Token | None:
    """The token that this is, unless it was revoked; notes its use, once a minute."""
    if not secret.startswith(PREFIX):
        return None
    digest, now = sha256(secret), datetime.now(UTC)
    with database.reading() as session:
        row = _valid(session, digest)
        found = _token(row) if row is not None else None
    if found is not None and (found.used_at is None or now - found.used_at > _NOTED_EVERY):
        with suppress(OperationalError):  # a database that takes no writes now still says who may read
            _note(database, found.name, now)
    return found


def _valid(session: Session, digest: str) -> TokenRow | None:
    row = session.scalars(select(TokenRow).where(TokenRow.sha256 == digest)).one_or_none()
    if row is None or row.revoked_at is not None or not hmac.compare_digest(row.sha256, digest):
        return None
    return row


def _note(database: Database, name: str, now: datetime) -> None:
    with database.writing() as session:
        row = session.get(TokenRow, name)
        if row is not None:
            row.used_at = now


def _token(row: TokenRow) -> Token:
    return Token(row.name, tuple(row.scopes.split()), row.created_at, row.used_at, row.revoked_at)
