"""The pages' templates, and how times, figures and small curves are written in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response
from markupsafe import Markup

from services.domain.registry_api import MAX_REASON
from services.registry import static_files

NOTHING = "\N{EN DASH}"
_NEXT_TO_NOTHING = 1e-12
"""What sums of zeros come to once they have been moved to another centre and back."""
_AGO = ((86_400, "days"), (3600, "hours"), (60, "minutes"))
_CURVE = (120.0, 28.0)
_METRICS = {
    "auc": "AUC", "auc_recent": "AUC, recent", "log_loss": "log loss", "log_loss_recent": "log loss, recent",
    "rmse": "RMSE", "rmse_recent": "RMSE, recent", "mae": "MAE", "positive_rate": "share of true labels",
}  # fmt: skip


def when(moment: datetime) -> Markup:
    """A time in UTC, to the second."""
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{0}">{1:%Y-%m-%d %H:%M:%S}</time>').format(utc.isoformat(), utc)


def ago(moment: datetime) -> Markup:
    """How long ago, in the largest unit of which there are at least two; the time itself on pointing at it."""
    past = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    size, unit = next(((size, unit) for size, unit in _AGO if past >= 2 * size), (1, "seconds"))
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{0}" title="{1:%Y-%m-%d %H:%M:%S} UTC">{2:.0f} {3} ago</time>').format(
        utc.isoformat(), utc, past / size, unit
    )


def figure(value: float | None) -> str:
    """A number to four digits; whole ones in full."""
    if value is None:
        return NOTHING
    if abs(value) < _NEXT_TO_NOTHING:
        return "0"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def share(value: float | None) -> str:
    """A share in per cent."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def metric(name: str) -> str:
    """A metric's name as a person writes it."""
    return _METRICS.get(name, name.replace("_", " "))


def curve(values: Sequence[float | None]) -> str:
    """Values as an SVG path over a box of 120 by 28, least below; a missing one leaves a gap."""
    present = [value for value in values if value is not None]
    if not present:
        return ""
    width, height = _CURVE
    low, span = min(present), max(present) - min(present)
    step = width / max(1, len(values) - 1)
    path, joined = [], False
    for i, value in enumerate(values):
        if value is not None:
            y = height - 2 - (height - 4) * ((value - low) / span if span else 0.5)
            path.append(f"{'L' if joined else 'M'}{i * step:.1f} {y:.1f}")
        joined = value is not None
    return " ".join(path)


def _environment() -> Environment:
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(when=when, ago=ago, figure=figure, share=share, metric=metric, curve=curve, quoted=quote)
    environment.globals.update(static=static_files.url, max_reason=MAX_REASON)
    return environment


_ENVIRONMENT = _environment()


def html(template: str, request: Request[Any, Any, Any], status: int = 200, **values: Any) -> Response[str]:
    """Render a page for this request; what it shows is of this moment and not to be kept by a cache."""
    text = _ENVIRONMENT.get_template(template).render(path=request.url.path, **values)
    return Response(text, status_code=status, media_type=MediaType.HTML, headers={"Cache-Control": "no-store"})
