"""Whatever is asked, described or not, is answered as the API's own description says: drawn by Schemathesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.unit.registry.serving import post, promote, serving

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, unsupported_method,
]  # fmt: skip
OPERATIONS = 13
EXAMPLES = 12


def test_every_answer_is_as_described(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """No request that the description allows, nor one that nearly is, fails the registry or is answered otherwise."""
    with serving(tmp_path, registry_env) as client:
        for offset in range(3):
            post(client, "flights", b"%d" % offset, offset=offset, candidate="sgd" if offset == 1 else "logistic")
        promote(client, "flights", "champion", 2)
        described = schemathesis.openapi.from_url(f"{client.base_url}/schema")
        operations = [found.ok() for found in described.get_all_operations()]
        assert len(operations) == OPERATIONS
        for operation in operations:
            ask(operation.as_strategy())
            if "{" in operation.path:  # the others cannot be asked wrongly
                ask(operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))


def ask(cases: Any) -> None:
    """Send what is drawn, always the same; then once more to the model that there is."""

    @seed(7)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def checked(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)
        if "name" in (case.path_parameters or {}):
            case.path_parameters = {**case.path_parameters, "name": "flights"}
            case.call_and_validate(checks=CHECKS)

    checked()
