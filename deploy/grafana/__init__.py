"""The dashboards as code: one module each, on the frame of ``board``, written as JSON by ``generate``."""
