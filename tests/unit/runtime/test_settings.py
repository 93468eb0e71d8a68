from __future__ import annotations

from pathlib import Path

import pytest

from services.runtime.settings import SettingsError, from_environment


def test_defaults_are_loopback() -> None:
    """Without any variable every address is on the loopback interface."""
    settings = from_environment({})
    assert settings.broker.startswith("127.0.0.1:")
    assert settings.registry_url.startswith("http://127.0.0.1:")
    assert settings.bind == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RIVERMILL_BROKER", "nowhere"),
        ("RIVERMILL_BROKER", "host:port"),
        ("RIVERMILL_BROKER", "host:0"),
        ("RIVERMILL_BROKER", "host:\u00b2"),
        ("RIVERMILL_REGISTRY_URL", "localhost:8080"),
        ("RIVERMILL_REGISTRY_URL", "http://[::1"),
        ("RIVERMILL_REGISTRY_URL", "http://localhost:99999"),
        ("RIVERMILL_REGISTRY_URL", "http://"),
        ("RIVERMILL_REGISTRY_TOKEN", "\u00e9\u20ac"),
        ("RIVERMILL_REGISTRY_TOKEN", "two\nlines"),
        ("RIVERMILL_WEB_PORT", "\u00b2"),
        ("RIVERMILL_SIGNING_KEY", "\udcff" * 24),
        ("RIVERMILL_DELIVERY", "at_most_once"),
        ("RIVERMILL_COMPRESSION", "zip"),
        ("RIVERMILL_WEB_PORT", "70000"),
        ("RIVERMILL_SIGNING_KEY", "short"),
        ("RIVERMILL_SECURITY_PROTOCOL", "SASL_SSL"),
        ("RIVERMILL_SIGNING_KEY_FILE", "/nonexistent/key"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """A value that cannot be used is an error that names its variable."""
    with pytest.raises(SettingsError, match=name if name != "RIVERMILL_SECURITY_PROTOCOL" else "RIVERMILL_SASL"):
        from_environment({name: value})


def test_secrets_stay_out_of_the_repr(tmp_path: Path) -> None:
    """No secret shows when settings are printed, wherever it came from."""
    file = tmp_path / "password"
    file.write_text("from-a-file-12345\n")
    settings = from_environment(
        {
            "RIVERMILL_SIGNING_KEY": "signing-key-of-24-chars!",
            "RIVERMILL_REGISTRY_TOKEN": "token-123456",
            "RIVERMILL_SASL_PASSWORD_FILE": str(file),
        }
    )
    assert settings.sasl_password == "from-a-file-12345"
    shown = repr(settings)
    assert not any(secret in shown for secret in ("signing-key", "token-123456", "from-a-file"))


def test_the_signing_key_is_asked_for_with_advice() -> None:
    """Using a signing key that is not set says which variable to set."""
    with pytest.raises(SettingsError, match="RIVERMILL_SIGNING_KEY is not set"):
        _ = from_environment({}).signing_keys


def test_a_bad_certificate_file_is_one_clear_error() -> None:
    """TLS files that cannot be read are an error that names the variables."""
    settings = from_environment({"RIVERMILL_SECURITY_PROTOCOL": "SSL", "RIVERMILL_SSL_CAFILE": "/nonexistent/ca.pem"})
    with pytest.raises(SettingsError, match="RIVERMILL_SSL_CAFILE"):
        settings.ssl_context()
