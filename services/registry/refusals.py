"""What the registry refuses, with the HTTP status it becomes: what happened, and what to do."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a failure of the registry
    """A request that cannot be granted. ``title`` says what happened, ``detail`` what it means and what to do."""

    status = 400

    def __init__(self, title: str, detail: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.headers = headers or {}


class Missing(Refusal):
    """Nothing has that name."""

    status = 404


class Late(Refusal):
    """The request took too long to arrive: sent again it may be granted."""

    status = 408


class Conflict(Refusal):
    """What is asked for contradicts what is there."""

    status = 409


class Thinned(Refusal):
    """The version is known, its snapshot was removed."""

    status = 410


class Invalid(Refusal):
    """The request is well formed, its content is not acceptable."""

    status = 422


class Unauthorized(Refusal):
    """The token is missing or wrong."""

    status = 401


class Forbidden(Refusal):
    """The request comes from somewhere it must not come from, or the token is not for this."""

    status = 403


class TooMany(Refusal):
    """The client asks too often, or was wrong too often about who it is."""

    status = 429

    def __init__(self, title: str, detail: str, wait_s: int) -> None:
        super().__init__(title, detail, {"Retry-After": str(wait_s)})


class Damaged(Refusal):
    """What was stored is no longer there as it was stored: asking again will not help."""

    status = 410
