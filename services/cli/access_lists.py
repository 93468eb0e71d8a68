"""The access control lists of a pipeline, as commands for Kafka's own tool or as JSON for others."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

import msgspec

from schemas.acls import Grant, Operation, Resource

PRINCIPAL = "User:rivermill-{role}"
_TOOL = ("kafka-acls.sh", "--bootstrap-server")
_CONFIG = ("--command-config", "admin.properties")


class Acl(msgspec.Struct, frozen=True, kw_only=True):
    """What one principal is allowed with one resource, or with all whose names begin so (pattern ``prefixed``)."""

    principal: str
    resource: Resource
    name: str
    pattern: str
    operations: tuple[Operation, ...]


def acls(granted: Iterable[Grant], principal: str) -> Iterator[Acl]:
    """One entry a resource; ``{role}`` in ``principal`` becomes the role."""
    for grant in granted:
        for name in grant.names:
            yield Acl(
                principal=_principal(principal, grant.role), resource=grant.resource, name=name,
                pattern=_pattern(grant), operations=grant.operations,
            )  # fmt: skip


def commands(granted: Iterable[Grant], principal: str, broker: str) -> Iterator[str]:
    """One command a grant, safe to repeat; ``admin.properties`` says how the administrator is known to Kafka."""
    for grant in granted:
        operations = [word for operation in grant.operations for word in ("--operation", operation)]
        names = [word for name in grant.names for word in (f"--{grant.resource}", name)]
        yield shlex.join([
            *_TOOL, broker, *_CONFIG, "--add", "--allow-principal", _principal(principal, grant.role), *operations,
            "--resource-pattern-type", _pattern(grant), *names,
        ])  # fmt: skip


def _principal(principal: str, role: str) -> str:
    return principal.replace("{role}", role)


def _pattern(grant: Grant) -> str:
    return "prefixed" if grant.prefixed else "literal"
