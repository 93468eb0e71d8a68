"""``make chaos``: faults at random moments against the real services, then a reader that shares no code with them.

- ``script``: the seeded stream of events and late labels; ``adversary``: the seeded plan of faults. Both pure.
- ``run``: one run: everything started, the stream fed (``feeder``), the faults carried out (``faults``), all drained.
- ``reader`` and ``facts``: what the topics hold, read_committed; ``registry``: what the registry and its blobs hold.
- ``verdict`` and ``ledger``: the checks, pure; ``refold``: the one check that uses the services' own fold; ``recovery``: how long
  lanes were silent after a kill.
"""
