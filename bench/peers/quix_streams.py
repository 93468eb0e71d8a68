"""Quix Streams: a StreamingDataFrame from topic to topic, at least once or, with --exactly-once, in transactions."""

from __future__ import annotations

from quixstreams import Application

from bench.peers.job import arguments, job


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--exactly-once", action="store_true")
    options = parser.parse_args()
    app = Application(
        broker_address=options.broker,
        consumer_group=options.group,
        processing_guarantee="exactly-once" if options.exactly_once else "at-least-once",
        auto_offset_reset="earliest",
        commit_interval=1.0,  # at the default of 5 s an output is seen up to 5 s late; no difference in speed was seen
        producer_extra_config={
            "compression.type": "lz4"
        },  # cheap in librdkafka; no gain was seen from a longer linger.ms
        auto_create_topics=False,  # they exist
        use_changelog_topics=False,  # no state
        state_dir=options.folder,
        loglevel="WARNING",
    )
    # bytes in and out: the job decodes and encodes
    source = app.topic(options.source, key_deserializer="bytes", value_deserializer="bytes")
    sink = app.topic(options.sink, key_serializer="bytes", value_serializer="bytes")
    app.dataframe(source).apply(job(options.model)).to_topic(sink)
    app.run()


if __name__ == "__main__":
    main()
