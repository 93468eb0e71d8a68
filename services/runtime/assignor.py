"""The lane assignor: partition p of every topic goes to the member that owns lane p, and lanes stay where they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


def share(lanes: int, live: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Spread lanes 0..lanes-1 over members: evenly to within one, moving as few live lanes as possible.

    ``live`` maps each member to the lanes it runs now; of two that claim a lane, the one with fewer lanes keeps it.
    The same arguments always give the same answer.
    """
    if not live:
        return {}
    most, with_one_more = divmod(lanes, len(live))
    owned: dict[str, list[int]] = {member: [] for member in live}
    taken: set[int] = set()
    for member in sorted(live, key=lambda m: (len(live[m]), m)):
        for lane in sorted(live[member]):
            has = len(owned[member])
            if lane in taken or lane >= lanes or has > most or (has == most and with_one_more == 0):
                continue
            with_one_more -= has == most
            owned[member].append(lane)
            taken.add(lane)
    for lane in (lane for lane in range(lanes) if lane not in taken):
        owned[min(owned, key=lambda m: (len(owned[m]), m))].append(lane)
    return {member: sorted(lanes_of) for member, lanes_of in owned.items()}


class LaneAssignor(AbstractPartitionAssignor):
    """One per group consumer; ``live`` tells which lanes the process runs when a rebalance begins."""

    name = "rivermill-lanes"

    def __init__(self, live: Callable[[], Iterable[int]]) -> None:
        self._live = live

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Run by the group's leader for all members."""
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        live = {name: _decode(member.user_data) for name, member in members.items()}
        owned = share(max(counts.values(), default=0), live)
        return {
            member: ConsumerProtocolMemberAssignment(
                0, [(topic, [lane for lane in lanes if lane < counts[topic]]) for topic in topics], b""
            )
            for member, lanes in owned.items()
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member tells the leader: its topics and its live lanes."""
        return ConsumerProtocolMemberMetadata(0, list(topics), msgspec.json.encode(sorted(self._live())))

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Nothing to remember: lanes are started and stopped by the membership."""


def _decode(user_data: bytes) -> list[int]:
    try:
        return msgspec.json.decode(user_data, type=list[int])
    except msgspec.MsgspecError:
        return []
