"""The order shop of docs/own-topics.md: made-up orders, and which of them were returned."""
