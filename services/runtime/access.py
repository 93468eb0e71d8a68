"""What Kafka's access control lists refuse: told in one line, with what it takes to be let."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from services.runtime.settings import Settings, SettingsError

_KINDS: dict[type[BaseException], str] = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "group",
    TransactionalIdAuthorizationFailed: "transactional id",
}
_CAUSES = 8


class AccessError(SettingsError):
    """Kafka does not let this process do what it must."""


class RefusedError(KafkaError):
    """What an answer of Kafka's did not allow, each as ``Write on topic flights.examples``."""

    def __init__(self, lacking: Iterable[str]) -> None:
        super().__init__(", ".join(lacking))


def explained(error: BaseException, settings: Settings) -> AccessError | None:
    """What an error of Kafka's clients means, if it or one of its causes is that access was refused."""
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if cause is None:
            break
        if isinstance(cause, RefusedError):
            return _error(settings, cause.args[0])
        if (kind := _KINDS.get(type(cause))) is not None:
            return _error(settings, _lacking(kind, cause.args[0] if cause.args else None))
        cause = cause.__cause__
    return None


def _error(settings: Settings, lacking: str) -> AccessError:
    return AccessError(
        f"Kafka does not let {_user(settings)} do what it must: it lacks {lacking}. Give it the access that "
        "`rivermill topics --acls` prints for its role"
    )


def unwritable(error: TopicAuthorizationFailedError) -> RefusedError:
    """The refusal of a write: aiokafka tells one topic, several, or none."""
    what = error.args[0] if error.args else "that it writes"
    return RefusedError([f"Write on topic {', '.join(sorted(what)) if isinstance(what, set) else what}"])


def _lacking(kind: str, what: object) -> str:
    """What is refused without a :class:`RefusedError` of ours: reading, groups and transactional ids."""
    return f"{'Write' if kind == 'transactional id' else 'Read'} on {kind} {what or 'of its own'}"


def _user(settings: Settings) -> str:
    if "SASL" in settings.security_protocol:
        return f"the user {settings.sasl_username!r}"
    return f"the holder of {settings.ssl_certfile}" if settings.ssl_certfile else "clients without a name"
