"""Settings from the environment, typed and validated; secrets never show in a repr."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

from services.runtime.errors import OperatorError

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Delivery = Literal["exactly_once", "at_least_once"]
Compression = Literal["zstd", "snappy", "lz4", "gzip", "none"]
DEFAULT_PORTS = {"cleaning": 9101, "scoring": 9102, "learner": 9103, "drift": 9104}
"""Where each service serves /metrics, /healthz and /readyz unless RIVERMILL_WEB_PORT says otherwise."""
_KEY_MIN_BYTES = 16
_MAX_PORT = 65535
ADDRESS = "host:port, several separated by commas, such as 127.0.0.1:9092"


class SettingsError(OperatorError, ValueError):
    """A setting that is missing or wrong: which variable, what was expected, what to do."""


@dataclass(frozen=True)
class Settings:
    """What every process reads from ``RIVERMILL_*`` variables (:func:`from_environment`)."""

    broker: str = "127.0.0.1:9092"
    registry_url: str = "http://127.0.0.1:8080"
    registry_token: str | None = field(default=None, repr=False)
    data_dir: Path = Path(".data")
    delivery: Delivery = "exactly_once"
    compression: Compression = "zstd"
    signing_key: bytes | None = field(default=None, repr=False)
    signing_key_previous: bytes | None = field(default=None, repr=False)
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    slot: str | None = None
    bind: str = "127.0.0.1"
    web_port: int = 0
    replication: int = 1
    log_level: str = "info"
    log_format: Literal["json", "console"] = "json"

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """The current signing key first, then the previous one; SettingsError when there is none."""
        if self.signing_key is None:
            raise SettingsError(
                "RIVERMILL_SIGNING_KEY is not set: the learner signs snapshots and live parameters with it, and "
                "scoring verifies them. Set the same secret of at least 16 characters for both "
                "(`rivermill up` makes one for you)."
            )
        return tuple(key for key in (self.signing_key, self.signing_key_previous) if key)

    def folder(self, *names: str) -> Path:
        """A folder within the data directory, made if absent; SettingsError when it cannot be written."""
        path = self.data_dir.joinpath(*names)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=path):
                return path
        except OSError as error:
            raise SettingsError(
                f"the data directory {self.data_dir} cannot be used ({error}): set RIVERMILL_DATA_DIR to one that can be "
                "written"
            ) from error

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS as configured, or None for the plain protocols."""
        if "SSL" not in self.security_protocol:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile:
                # never None: OpenSSL would ask at the terminal for the password of an encrypted key, and wait
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, self.ssl_key_password or "")
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"TLS files cannot be used ({error}): check RIVERMILL_SSL_CAFILE, RIVERMILL_SSL_CERTFILE, "
                "RIVERMILL_SSL_KEYFILE and, if the key is encrypted, RIVERMILL_SSL_KEY_PASSWORD"
            ) from error
        return context

    def kafka(self) -> dict[str, Any]:
        """Connection arguments of every aiokafka client."""
        return {
            "bootstrap_servers": self.broker,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
            "sasl_mechanism": self.sasl_mechanism if "SASL" in self.security_protocol else "PLAIN",
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }


def _choice(env: Mapping[str, str], name: str, allowed: Any, default: str) -> Any:
    value = env.get(name) or default
    choices = get_args(allowed)
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}: expected one of {', '.join(choices)}")
    return value


def _number(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise SettingsError(f"{name} is {text!r}: expected a whole number from {least} to {most}")
    return int(text)


def secret(env: Mapping[str, str], name: str) -> str | None:
    """The value of ``name``, or the content of the file that ``<name>_FILE`` names."""
    if value := env.get(name):
        return value
    if path := env.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE cannot be read: {error}") from error
    return None


def _key(env: Mapping[str, str], name: str) -> bytes | None:
    value = secret(env, name)
    if value is not None and len(value) < _KEY_MIN_BYTES:
        raise SettingsError(f"{name} is too short: expected at least {_KEY_MIN_BYTES} characters")
    try:
        return value.encode() if value else None
    except UnicodeEncodeError as error:
        raise SettingsError(f"{name} holds bytes that are no UTF-8: make one with `openssl rand -hex 32`") from error


def is_address(text: str) -> bool:
    """Whether a text is an address of Kafka: see ``ADDRESS``."""
    pairs = [address.strip().rpartition(":") for address in text.split(",")]
    return all(host and port.isdecimal() and 0 < int(port) <= _MAX_PORT for host, _, port in pairs)


def _broker(env: Mapping[str, str]) -> str:
    broker = env.get("RIVERMILL_BROKER") or Settings.broker
    if not is_address(broker):
        raise SettingsError(f"RIVERMILL_BROKER is {broker!r}: expected {ADDRESS}")
    return broker


def base_url(given: str, name: str) -> str:
    """A service's URL without a slash at its end; SettingsError, with ``name`` for who gave it, if it is none."""
    url = given.rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1) > 0  # .port raises, too
    except ValueError:
        good = False
    if not good:
        raise SettingsError(f"{name} is {url!r}: expected http://host:port or https://host")
    return url


def _token(env: Mapping[str, str]) -> str | None:
    """Sent in an HTTP header (RFC 6750): visible ASCII."""
    token = secret(env, "RIVERMILL_REGISTRY_TOKEN")
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError("RIVERMILL_REGISTRY_TOKEN holds a space, a line break or a character beyond ASCII")
    return token


def from_environment(env: Mapping[str, str]) -> Settings:
    """Read and validate the settings; SettingsError names the variable and what was expected."""
    protocol = cast(SecurityProtocol, _choice(env, "RIVERMILL_SECURITY_PROTOCOL", SecurityProtocol, "PLAINTEXT"))
    password = secret(env, "RIVERMILL_SASL_PASSWORD")
    if "SASL" in protocol and not (env.get("RIVERMILL_SASL_USERNAME") and password):
        raise SettingsError(f"{protocol} needs RIVERMILL_SASL_USERNAME and RIVERMILL_SASL_PASSWORD (or _PASSWORD_FILE)")
    return Settings(
        broker=_broker(env),
        registry_url=base_url(env.get("RIVERMILL_REGISTRY_URL") or Settings.registry_url, "RIVERMILL_REGISTRY_URL"),
        registry_token=_token(env),
        data_dir=Path(env.get("RIVERMILL_DATA_DIR") or Settings.data_dir),
        delivery=_choice(env, "RIVERMILL_DELIVERY", Delivery, "exactly_once"),
        compression=_choice(env, "RIVERMILL_COMPRESSION", Compression, "zstd"),
        signing_key=_key(env, "RIVERMILL_SIGNING_KEY"),
        signing_key_previous=_key(env, "RIVERMILL_SIGNING_KEY_PREVIOUS"),
        security_protocol=protocol,
        sasl_mechanism=_choice(env, "RIVERMILL_SASL_MECHANISM", SaslMechanism, "SCRAM-SHA-512"),
        sasl_username=env.get("RIVERMILL_SASL_USERNAME"),
        sasl_password=password,
        ssl_cafile=env.get("RIVERMILL_SSL_CAFILE") or None,
        ssl_certfile=env.get("RIVERMILL_SSL_CERTFILE") or None,
        ssl_keyfile=env.get("RIVERMILL_SSL_KEYFILE") or None,
        ssl_key_password=secret(env, "RIVERMILL_SSL_KEY_PASSWORD"),
        slot=env.get("RIVERMILL_SLOT") or None,
        bind=env.get("RIVERMILL_BIND") or Settings.bind,
        web_port=_number(env, "RIVERMILL_WEB_PORT", 0, 0, _MAX_PORT),
        replication=_number(env, "RIVERMILL_REPLICATION", 1, 1, 32),
        log_level=_choice(env, "RIVERMILL_LOG_LEVEL", Literal["debug", "info", "warning", "error"], "info"),
        log_format=_choice(env, "RIVERMILL_LOG_FORMAT", Literal["json", "console"], "json"),
    )
