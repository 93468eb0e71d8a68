"""The pure core of cleaning: :class:`Clean` is one lane of the stage ``clean``."""

from services.cleaning.core.clean import Clean, Inputs
from services.cleaning.core.profiles import FieldProfile

__all__ = ["Clean", "FieldProfile", "Inputs"]
