"""Signatures: HMAC-SHA256 with the deployment's signing key, verified before anything is parsed (RFC 2104)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable


class SignatureError(ValueError):
    """Bytes that none of the keys has signed: altered, cut, or signed in another deployment."""


def sign(data: bytes, key: bytes) -> bytes:
    """The 32 bytes of the signature."""
    return hmac.digest(key, data, "sha256")


def verify(data: bytes, signature: bytes, keys: Iterable[bytes], what: str) -> None:
    """Raise SignatureError unless one of the keys (the current one, the previous one) has signed the data."""
    if not any(hmac.compare_digest(sign(data, key), signature) for key in keys if key):
        message = (
            f"{what} is not signed with this deployment's key: it was altered, or made under another key. Check that "
            "RIVERMILL_SIGNING_KEY is the learner's, and after changing it set RIVERMILL_SIGNING_KEY_PREVIOUS to the old one"
        )
        raise SignatureError(message)
