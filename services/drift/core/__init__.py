"""The pure part of drift: records in, records out; no clock, no Kafka."""
