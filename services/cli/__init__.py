"""The ``rivermill`` command and the local broker."""
