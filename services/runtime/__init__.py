"""How a service lives on Kafka: lanes, transactions, checkpoints, topics, settings, metrics, health, the worker."""
