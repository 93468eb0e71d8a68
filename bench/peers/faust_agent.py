"""A Faust agent as in its guide: ``async for`` over a stream, ``await topic.send``; or, with --take, in batches.

``send`` hands the record to the producer and does not wait for the broker. With --take the agent takes up to 1,000
events and hands over their predictions together.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bench.peers.job import arguments, job

_TAKE, _WITHIN_S = 1000, 0.1


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--take", action="store_true", help="take events in batches")
    options = parser.parse_args()

    import mode.loop  # noqa: PLC0415 - uvloop must be chosen before Faust is imported

    mode.loop.use("uvloop")  # the event loop that Faust's guide recommends for production

    import faust  # noqa: PLC0415 - as above

    app = faust.App(
        options.group,
        broker=f"kafka://{options.broker}",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,  # as Rivermill's own Faust apps
        producer_compression_type="snappy",  # the cheapest of aiokafka's codecs: it compresses lz4 at level 9, zstd at 3
        producer_max_batch_size=512 * 1024,  # more than aiokafka's 16 KiB, as for every peer on aiokafka
        topic_allow_declare=False,  # the topics exist
        topic_disable_leader=True,  # and no other is wanted
        store="memory://",  # no tables
        datadir=str(options.folder),
        web_enabled=False,
    )
    score = job(options.model)
    source = app.topic(options.source, key_serializer="raw", value_serializer="raw")  # bytes: the job decodes
    sink = app.topic(options.sink, key_serializer="raw", value_serializer="raw")

    async def one_by_one(stream: Any) -> None:
        async for event in stream.events():
            await sink.send(key=event.key, value=score(event.value))

    async def in_batches(stream: Any) -> None:
        async for events in stream.take_events(_TAKE, within=_WITHIN_S):
            await asyncio.gather(*[sink.send(key=event.key, value=score(event.value)) for event in events])

    app.agent(source)(in_batches if options.take else one_by_one)
    faust.Worker(app, loglevel="WARNING", quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main()
