"""The registry's settings, from the environment alone: it serves many pipelines and reads no pipeline file."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.runtime.settings import Settings, SettingsError, from_environment


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """``kafka`` is None when no broker is set: alias records then wait in the outbox."""

    runtime: Settings
    database: str = field(repr=False)
    blobs: str
    kafka: Settings | None
    host: str = "127.0.0.1"
    port: int = 8080

    @property
    def token(self) -> str | None:
        """The bearer token that writes must carry; None lets everyone write."""
        return self.runtime.registry_token


def registry_settings(env: Mapping[str, str], host: str = "127.0.0.1", port: int = 8080) -> RegistrySettings:
    """Read and validate the settings; SettingsError names what is wrong and what to do."""
    runtime = from_environment(env)
    if not _loopback(host) and runtime.registry_token is None:
        raise SettingsError(
            f"the registry is to listen on {host}, where others can reach it, and RIVERMILL_REGISTRY_TOKEN is not set: "
            "anyone could promote a model. Set the same secret for the registry, the learner and the command, "
            "or listen on 127.0.0.1"
        )
    folder = runtime.data_dir / "registry"
    return RegistrySettings(
        runtime=runtime,
        database=env.get("RIVERMILL_REGISTRY_DATABASE") or f"sqlite:///{folder / 'registry.sqlite'}",
        blobs=env.get("RIVERMILL_BLOBS") or str(folder / "blobs"),
        kafka=runtime if env.get("RIVERMILL_BROKER") else None,
        host=host,
        port=port,
    )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
