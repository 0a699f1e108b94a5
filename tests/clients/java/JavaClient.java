import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client, the reference. The records are those of ../python/records.py. */
public final class JavaClient {
    static final int PARTITIONS = 3;
    static final int COUNT = 300;
    static final int[] LENGTHS = {0, 1, 10, 100, 1000, 20_000};
    static final String ALPHABET = "abcdefghijklmnopqrstuvwxyz";
    static String bootstrap;
    static String prefix;

    interface Case {
        void run() throws Exception;
    }

    static byte[] key(int i) {
        return i % 10 == 7 ? null : bytes("k" + i);
    }

    static byte[] value(int i) {
        int length = LENGTHS[i % LENGTHS.length];
        return bytes((i + ":" + ALPHABET.repeat(length / 26 + 1)).substring(0, length));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static Map<String, Object> config(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        config.putAll(more);
        return config;
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Map<String, Object> config = config(Map.of("linger.ms", 5, "delivery.timeout.ms", 40_000));
        config.putAll(more);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer() {
        Map<String, Object> config = config(Map.of("enable.auto.commit", false));
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void create(String topic, int partitions) throws Exception {
        try (Admin admin = Admin.create(config(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all()
                .get(30, TimeUnit.SECONDS);
            // Until every partition answers, what is sent may be refused, and then reordered.
            Map<TopicPartition, OffsetSpec> ends = new HashMap<>();
            for (int p = 0; p < partitions; p++) {
                ends.put(new TopicPartition(topic, p), OffsetSpec.latest());
            }
            admin.listOffsets(ends).all().get(30, TimeUnit.SECONDS);
        }
    }

    static void produce(String topic, Map<String, Object> settings) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            List<Future<?>> sent = new ArrayList<>();
            for (int i = 0; i < COUNT; i++) {
                var record = new ProducerRecord<>(topic, i % PARTITIONS, key(i), value(i));
                record.headers().add("n", bytes(String.valueOf(i)));
                sent.add(producer.send(record));
            }
            producer.flush();
            for (Future<?> one : sent) {
                one.get(30, TimeUnit.SECONDS);
            }
        }
    }

    static void read(String topic) {
        Map<Integer, List<ConsumerRecord<byte[], byte[]>>> got = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            List<TopicPartition> places = new ArrayList<>();
            for (int p = 0; p < PARTITIONS; p++) {
                places.add(new TopicPartition(topic, p));
                got.put(p, new ArrayList<>());
            }
            consumer.assign(places);
            consumer.seekToBeginning(places);
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
            int seen = 0;
            while (seen < COUNT && System.nanoTime() < end) {
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    got.get(record.partition()).add(record);
                    seen++;
                }
            }
        }
        for (int i = 0; i < COUNT; i++) {
            var records = got.get(i % PARTITIONS);
            int at = i / PARTITIONS;
            check(at < records.size(), "record " + i + " is not there");
            var record = records.get(at);
            check(record.offset() == at, "record " + i + " is at offset " + record.offset());
            check(Arrays.equals(record.key(), key(i)), "record " + i + " has another key");
            check(Arrays.equals(record.value(), value(i)), "record " + i + " has another value");
            var header = record.headers().lastHeader("n");
            check(header != null && Arrays.equals(header.value(), bytes(String.valueOf(i))),
                "record " + i + " has another header");
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    static void roundTrip(String name, Map<String, Object> settings) {
        run(name, () -> {
            String topic = prefix + "-" + name;
            create(topic, PARTITIONS);
            produce(topic, settings);
            read(topic);
        });
    }

    /** Offsets by timestamp; records deleted from the front. */
    static void lookup() throws Exception {
        String topic = prefix + "-lookup";
        TopicPartition place = new TopicPartition(topic, 0);
        create(topic, 1);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int i = 0; i < 20; i++) {
                long at = 1_700_000_000_000L + i * 1000L;
                producer.send(new ProducerRecord<>(topic, 0, at, null, bytes("x")))
                    .get(30, TimeUnit.SECONDS);
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer();
                Admin admin = Admin.create(config(Map.of()))) {
            long[][] looks = {{0, 0}, {1_700_000_007_000L, 7}, {1_700_000_007_001L, 8}};
            for (long[] look : looks) {
                var found = consumer.offsetsForTimes(Map.of(place, look[0])).get(place);
                check(found != null && found.offset() == look[1],
                    "timestamp " + look[0] + ": " + found + ", not offset " + look[1]);
            }
            check(consumer.offsetsForTimes(Map.of(place, 1_800_000_000_000L)).get(place) == null,
                "an offset past the end");
            admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(5))).all()
                .get(30, TimeUnit.SECONDS);
            check(consumer.beginningOffsets(List.of(place)).get(place) == 5, "log start is not 5");
            check(consumer.endOffsets(List.of(place)).get(place) == 20, "the end is not 20");
        }
    }

    /** A config is changed and shows; partitions are added; the topic is removed. */
    static void admin() throws Exception {
        String topic = prefix + "-admin";
        create(topic, PARTITIONS);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = Admin.create(config(Map.of()))) {
            var set = new AlterConfigOp(
                new ConfigEntry("retention.ms", "123456"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all()
                .get(30, TimeUnit.SECONDS);
            String seen = "";
            for (int tries = 0; tries < 50 && !seen.equals("123456"); tries++) {
                seen = admin.describeConfigs(List.of(resource)).all().get(30, TimeUnit.SECONDS)
                    .get(resource).get("retention.ms").value();
                Thread.sleep(100);
            }
            check(seen.equals("123456"), "retention.ms is " + seen);
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all()
                .get(30, TimeUnit.SECONDS);
            check(!admin.describeCluster().nodes().get(30, TimeUnit.SECONDS).isEmpty(), "no nodes");
            admin.deleteTopics(List.of(topic)).all().get(30, TimeUnit.SECONDS);
        }
    }

    static void run(String name, Case body) {
        try {
            body.run();
            System.out.println(name + "\tok\t");
        } catch (Throwable error) {
            System.out.println(name + "\tfail\t" + error.toString().replaceAll("\\s+", " "));
        }
    }

    public static void main(String[] args) {
        bootstrap = args[0];
        prefix = args[1];
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            roundTrip("codec-" + codec, Map.of("compression.type", codec));
        }
        for (String acks : List.of("0", "1", "all")) {
            roundTrip("acks-" + acks, Map.of("acks", acks, "enable.idempotence", false));
        }
        roundTrip("idempotent", Map.of("enable.idempotence", true));
        run("lookup", JavaClient::lookup);
        run("admin", JavaClient::admin);
        System.exit(0); // No client thread may keep the program alive after its last case.
    }
}
