"""Cleaning: raw events and labels in whatever shape they come, to clean ones in one shape (stage ``clean``).

Reads ``events.raw``, ``labels.raw`` (or the producer's own topics) and ``rekeyed``; writes ``events.clean``,
``labels.clean``, ``rekeyed`` and ``deadletter``. ``core`` says what is done, in this order:

1. **decode**: a strict typed decode made from the pipeline file; only what fails it is parsed leniently;
2. **place**: a record whose id belongs to another partition goes once through ``rekeyed``;
3. **time**: read, checked, held against the clock; **deduplicate** by id among the last ``dedupe_ids`` that passed;
4. **standardise** types, booleans, case, synonyms, units; **correct** ranges; **outliers**; **impute**; **derive**.

Every repair is a named rule and stands in the event's ``changes``, every rejection in ``deadletter`` with its rule
(``core/rules.py`` lists both). What the pipeline file says of every record, an alias, a unit, a derived field, a field
that it does not name, is no change. Statistics are per lane, and small enough for every checkpoint.
"""
