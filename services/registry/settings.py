"""The registry's settings, from the environment alone: it serves many pipelines and reads no pipeline file."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.registry.tokens import SCOPES
from services.runtime.settings import Settings, SettingsError, from_environment, secret

_ANONYMOUS: dict[str, tuple[str, ...]] = {"none": (), "read": ("read",), "write": SCOPES}


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """``kafka`` is None when no broker is set: alias records then wait in the outbox."""

    runtime: Settings
    database: str = field(repr=False)
    blobs: str
    kafka: Settings | None
    host: str = "127.0.0.1"
    port: int = 8080
    anonymous: tuple[str, ...] = SCOPES
    proxies: str = ""

    @property
    def token(self) -> str | None:
        """The token of the settings: it may do everything."""
        return self.runtime.registry_token

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the registry."""
        return _loopback(self.host)


def registry_settings(env: Mapping[str, str], host: str = "127.0.0.1", port: int = 8080) -> RegistrySettings:
    """Read and validate the settings; SettingsError names what is wrong and what to do."""
    runtime = from_environment(env)
    folder = runtime.data_dir / "registry"
    return RegistrySettings(
        runtime=runtime,
        database=secret(env, "RIVERMILL_REGISTRY_DATABASE") or f"sqlite:///{folder / 'registry.sqlite'}",
        blobs=env.get("RIVERMILL_BLOBS") or str(folder / "blobs"),
        kafka=runtime if env.get("RIVERMILL_BROKER") else None,
        host=host,
        port=port,
        anonymous=_anonymous(env, host, runtime.registry_token),
        proxies=_proxies(env),
    )


def _anonymous(env: Mapping[str, str], host: str, token: str | None) -> tuple[str, ...]:
    """What requests without a token may do: on loopback all, or read once there is a token; elsewhere nothing."""
    told = env.get("RIVERMILL_REGISTRY_ANONYMOUS") or None
    if told is not None and told not in _ANONYMOUS:
        raise SettingsError(f"RIVERMILL_REGISTRY_ANONYMOUS is {told!r}: expected one of {', '.join(_ANONYMOUS)}")
    if not _loopback(host) and (told == "write" or (told is None and token is None)):
        why = "RIVERMILL_REGISTRY_ANONYMOUS is write" if told else "RIVERMILL_REGISTRY_TOKEN is not set"
        raise SettingsError(
            f"the registry is to listen on {host}, where others can reach it, and {why}: anyone could promote a model. "
            "Set the same secret for the registry, the learner and the command; or make tokens with `rivermill tokens "
            "create` and set RIVERMILL_REGISTRY_ANONYMOUS to none; or listen on 127.0.0.1"
        )
    default = "none" if not _loopback(host) else "write" if token is None else "read"
    return _ANONYMOUS[told or default]


def _proxies(env: Mapping[str, str]) -> str:
    """Addresses of proxies, as uvicorn takes them."""
    proxies = env.get("RIVERMILL_REGISTRY_PROXIES", "")
    for each in filter(None, proxies.split(",")):
        try:
            ipaddress.ip_network(each.strip())
        except ValueError as error:
            raise SettingsError(
                f"RIVERMILL_REGISTRY_PROXIES has {each!r}: expected addresses or networks of proxies, separated by commas"
            ) from error
    return proxies


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
