"""Bytewax: a dataflow from Kafka to Kafka with its recovery store on, which is its at-least-once."""

from __future__ import annotations

from datetime import timedelta

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from confluent_kafka import OFFSET_BEGINNING

from bench.peers.job import arguments, job


def main() -> None:
    options = arguments(__doc__).parse_args()
    score = job(options.model)

    def scored(message: KafkaSourceMessage[bytes, bytes]) -> KafkaSinkMessage[bytes, bytes]:
        return KafkaSinkMessage(message.key, score(message.value))

    flow = Dataflow("bench")
    source = kop.input(
        "source",
        flow,
        brokers=[options.broker],
        topics=[options.source],
        starting_offset=OFFSET_BEGINNING,
        # batch_size stays at 1,000: the sink flushes after each, and no gain was seen from 4,000 or 10,000
    )
    kop.output(
        "sink",
        op.map("score", source.oks, scored),
        brokers=[options.broker],
        topic=options.sink,
        add_config={
            "compression.type": "lz4",  # cheap in librdkafka
            "partitioner": "murmur2_random",  # as Kafka's own clients place keys
        },
    )
    init_db_dir(options.folder, 1)
    cli_main(
        flow,
        epoch_interval=timedelta(seconds=1),  # how often it writes down where it is: as often as the others commit
        recovery_config=RecoveryConfig(str(options.folder)),
    )


if __name__ == "__main__":
    main()
