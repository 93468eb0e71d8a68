import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams copying bytes untouched, exactly once, in one thread: BROKER APPLICATION_ID FOLDER TOPIC TOPIC [TOPIC...].
 * Each topic is copied to the next: three topics are two hops.
 */
public final class Copy {
    public static void main(String[] arguments) throws InterruptedException {
        var config = new Properties();
        config.putAll(Map.of(
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
            StreamsConfig.APPLICATION_ID_CONFIG, arguments[1],
            StreamsConfig.STATE_DIR_CONFIG, arguments[2],
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2, // commits every 100 ms
            StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1,
            StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest",
            StreamsConfig.consumerPrefix("max.poll.records"), 4000, // batches as large as the others'
            StreamsConfig.producerPrefix("compression.type"), "lz4", // cheap in Java
            StreamsConfig.producerPrefix("batch.size"), 512 * 1024 // the default of 16 KiB is 40 records
        ));
        var builder = new StreamsBuilder();
        for (int hop = 3; hop + 1 < arguments.length; hop++) {
            builder.stream(arguments[hop], Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .to(arguments[hop + 1], Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
        }
        var streams = new KafkaStreams(builder.build(), config);
        var ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }
}
