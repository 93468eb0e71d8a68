"""One module a schema change, in the order that ``down_revision`` gives. There is no way down: restore a backup."""
