import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The Java client in a group; ../python/groups.py says what a member is told and what it tells. */
public final class Member {
    static final Map<String, String> ASSIGNORS = Map.of(
        "range", "org.apache.kafka.clients.consumer.RangeAssignor",
        "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor",
        "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
    static volatile boolean paused;
    static volatile boolean leaving;

    /** The partitions that it has, told whenever they change. */
    static final class Owned implements ConsumerRebalanceListener {
        final TreeSet<Integer> partitions = new TreeSet<>();

        void say() {
            System.out.println("owns " + partitions.stream().map(String::valueOf)
                .collect(Collectors.joining(" ")));
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> more) {
            more.forEach(place -> partitions.add(place.partition()));
            say();
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> fewer) {
            fewer.forEach(place -> partitions.remove(place.partition()));
            say();
        }
    }

    static void obey() {
        var orders = new BufferedReader(new InputStreamReader(System.in));
        orders.lines().takeWhile(order -> !order.equals("leave"))
            .forEach(order -> paused = order.equals("pause"));
        leaving = true;
    }

    public static void main(String[] args) throws Exception {
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", args[0],
            "group.id", args[2],
            "partition.assignment.strategy", ASSIGNORS.get(args[3]),
            "session.timeout.ms", 6_000,
            "heartbeat.interval.ms", 500,
            "max.poll.interval.ms", 7_000,
            "enable.auto.commit", false,
            "auto.offset.reset", "earliest"));
        if (!args[4].equals("-")) {
            config.put("group.instance.id", args[4]);
        }
        var obeys = new Thread(Member::obey);
        obeys.setDaemon(true);
        obeys.start();
        try (var consumer = new KafkaConsumer<>(
                config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[1]), new Owned());
            while (!leaving) {
                if (paused) {
                    Thread.sleep(50);
                    continue;
                }
                var got = consumer.poll(Duration.ofMillis(200));
                got.forEach(one -> System.out.println("got " + one.partition() + " " + one.offset()));
                try {
                    if (!got.isEmpty()) {
                        consumer.commitSync();
                    }
                } catch (KafkaException rebalances) {
                    // Who has the partition next reads them again.
                }
            }
        }
        System.out.println("left");
        System.exit(0);
    }
}
