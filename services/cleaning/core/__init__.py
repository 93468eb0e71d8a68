"""The pure core of cleaning: :class:`Clean` is one lane of the stage ``clean``."""

from services.cleaning.core.clean import Clean, Inputs

__all__ = ["Clean", "Inputs"]
