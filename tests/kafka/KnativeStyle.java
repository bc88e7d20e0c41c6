import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Plays Knative's Kafka broker with the plain Java client, and looks into a cluster for the tests.
 *
 * <pre>java -cp 'target/kafka-libs/*' tests/kafka/KnativeStyle.java BOOTSTRAP COMMAND ARGUMENT...</pre>
 *
 * produce TOPIC [TRANSACTION commit|abort|open]   writes the records on stdin, a JSON object a line (see {@link #record})
 * consume GROUP TOPIC COUNT [PROPERTY=VALUE]...   joins, reads that many records, commits after each, leaves
 * hold GROUP TOPIC [PROPERTY=VALUE]...            joins and stays until stdin closes
 * commit GROUP TOPIC PARTITION=OFFSET...          sets offsets of a group that has no members
 * partition KEY PARTITIONS                        where the default partitioner puts a key
 * group GROUP, topics, create TOPIC PARTITIONS [PROPERTY=VALUE]..., delete TOPIC, trim TOPIC PARTITION=OFFSET...
 * serve                                           answers requests on stdin: {"id": 1, "arguments": [...], "input": [...]}
 *
 * What a command answers are lines of JSON. `serve` saves the tests the start of a JVM for each question; there `release ID`
 * lets the member of request ID leave its group, `abandon ID` lets it go silent.
 */
public final class KnativeStyle {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** Longer than the patience of the tests, which are better at saying what they waited for. */
    private static final Duration PATIENCE = Duration.ofSeconds(90);
    private static final Duration POLL = Duration.ofMillis(100);

    private final String bootstrap;
    private final Admin admin;
    private final Map<String, Member> members = new ConcurrentHashMap<>();

    private KnativeStyle(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(properties());
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = System.out;
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        KnativeStyle self = new KnativeStyle(arguments[0]);
        List<String> command = Arrays.asList(arguments).subList(1, arguments.length);
        switch (command.get(0)) {
            case "serve" -> self.serve(in, out);
            case "hold" -> {
                self.run("cli", command, List.of()).forEach(out::println);
                while (in.readLine() != null) {}
                self.run("cli", List.of("release", "cli"), List.of());
            }
            case "produce" -> self.run("cli", command, in.lines().toList()).forEach(out::println);
            default -> self.run("cli", command, List.of()).forEach(out::println);
        }
        System.exit(0);
    }

    private void serve(BufferedReader in, PrintStream out) throws Exception {
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode request = JSON.readTree(line);
            Thread thread = new Thread(() -> {
                ObjectNode answer = JSON.createObjectNode();
                answer.set("id", request.get("id"));
                try {
                    String id = request.get("id").asText();
                    var lines = run(id, strings(request.get("arguments")), strings(request.get("input")));
                    lines.forEach(answer.withArray("lines")::addPOJO);
                } catch (Throwable error) {
                    answer.put("error", error.toString());
                }
                synchronized (out) {
                    out.println(answer);
                    out.flush();
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
    }

    private List<Object> run(String id, List<String> command, List<String> input) throws Exception {
        String name = command.get(0);
        List<String> rest = command.subList(1, command.size());
        return switch (name) {
            case "produce" -> produce(rest, input);
            case "consume" -> consume(rest.get(0), rest.get(1), number(rest.get(2)), rest.subList(3, rest.size()));
            case "hold" -> {
                Member member = new Member(consumer(rest.get(0), rest.subList(2, rest.size())), rest.get(1));
                members.put(id, member);
                yield member.join();
            }
            case "release", "abandon" -> {
                Member member = members.remove(rest.get(0));
                if (member != null) member.end(name.equals("release"));
                yield List.of();
            }
            case "commit" -> {
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                pairs(rest, 2).forEach((key, value) ->
                    offsets.put(partition(rest.get(1), key), new OffsetAndMetadata(Long.parseLong(value))));
                admin.alterConsumerGroupOffsets(rest.get(0), offsets).all().get();
                yield List.of();
            }
            case "partition" -> List.of(BuiltInPartitioner.partitionForKey(utf8(rest.get(0)), number(rest.get(1))));
            case "group" -> describeGroup(rest.get(0));
            case "topics" -> List.copyOf(admin.listTopics().names().get());
            case "create" -> createTopic(rest.get(0), number(rest.get(1)), pairs(rest, 2));
            case "delete" -> deleteTopic(rest.get(0));
            case "trim" -> {
                Map<TopicPartition, RecordsToDelete> upTo = new HashMap<>();
                pairs(rest, 1).forEach((key, value) ->
                    upTo.put(partition(rest.get(0), key), RecordsToDelete.beforeOffset(Long.parseLong(value))));
                admin.deleteRecords(upTo).all().get();
                yield List.of();
            }
            default -> throw new IllegalArgumentException("unknown command " + name);
        };
    }

    // ---------------------------------------------------------------- producing

    private List<Object> produce(List<String> arguments, List<String> input) throws Exception {
        String topic = arguments.get(0);
        boolean transaction = arguments.size() > 1;
        String end = transaction ? arguments.get(2) : "";
        Properties properties = properties();
        if (transaction) properties.put("transactional.id", arguments.get(1));
        var bytes = new ByteArraySerializer();
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties, bytes, bytes);
        try {
            if (transaction) {
                producer.initTransactions();
                producer.beginTransaction();
            }
            List<JsonNode> records = new ArrayList<>();
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String line : input) {
                JsonNode record = JSON.readTree(line);
                records.add(record);
                sent.add(producer.send(record(topic, record)));
            }
            producer.flush();
            List<Object> answers = new ArrayList<>();
            for (int index = 0; index < sent.size(); index++) {
                RecordMetadata written = sent.get(index).get();
                ObjectNode answer = JSON.createObjectNode().put("id", records.get(index).path("id").asText());
                answers.add(answer.put("partition", written.partition()).put("offset", written.offset()));
            }
            if (end.equals("commit")) producer.commitTransaction();
            if (end.equals("abort")) producer.abortTransaction();
            return answers;
        } finally {
            // Without time to close, a producer leaves an open transaction as it is; the broker ends it when its time is up.
            producer.close(end.equals("open") ? Duration.ZERO : PATIENCE);
        }
    }

    /**
     * A record of {"id", "source", "type", "key", "partition", "data", "extensions": {...}, "form"}. The forms are "binary",
     * "structured", "raw" (the data and no headers) and "null" (headers and no value). "key" is the partitionkey of the event
     * and the key of the record, as Knative writes it.
     */
    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode wanted) throws Exception {
        String form = wanted.path("form").asText("binary");
        Map<String, String> attributes = new TreeMap<>();
        attributes.put("specversion", "1.0");
        attributes.put("id", wanted.path("id").asText());
        attributes.put("source", wanted.path("source").asText("/knative"));
        attributes.put("type", wanted.path("type").asText("test"));
        if (wanted.hasNonNull("key")) attributes.put("partitionkey", wanted.get("key").asText());
        for (var extension : wanted.path("extensions").properties()) {
            attributes.put(extension.getKey(), extension.getValue().asText());
        }
        byte[] data = bytes(wanted.path("data"));
        byte[] key = wanted.hasNonNull("key") ? utf8(wanted.get("key").asText()) : null;
        Integer partition = wanted.hasNonNull("partition") ? wanted.get("partition").asInt() : null;
        byte[] value = switch (form) {
            case "structured" -> structured(attributes, data);
            case "null" -> null;
            default -> data;
        };
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, key, value);
        switch (form) {
            case "structured" -> record.headers().add("content-type", utf8("application/cloudevents+json; charset=UTF-8"));
            case "binary", "null" -> {
                attributes.forEach((name, text) -> record.headers().add("ce_" + name, utf8(text)));
                record.headers().add("content-type", utf8("application/json"));
            }
            case "raw" -> {}
            default -> throw new IllegalArgumentException("unknown form " + form);
        }
        return record;
    }

    private static byte[] structured(Map<String, String> attributes, byte[] data) throws Exception {
        ObjectNode event = JSON.createObjectNode();
        attributes.forEach(event::put);
        event.put("datacontenttype", "application/json");
        event.set("data", JSON.readTree(data));
        return JSON.writeValueAsBytes(event);
    }

    // ---------------------------------------------------------------- consuming

    private KafkaConsumer<byte[], byte[]> consumer(String group, List<String> settings) {
        Properties properties = properties();
        properties.put("group.id", group);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("isolation.level", "read_committed");
        properties.put("session.timeout.ms", "10000");
        properties.put("heartbeat.interval.ms", "3000");
        properties.putAll(pairs(settings, 0));
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private List<Object> consume(String group, String topic, int count, List<String> settings) throws Exception {
        List<Object> answers = new ArrayList<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, settings)) {
            consumer.subscribe(List.of(topic));
            while (answers.size() < count) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(answers.size() + " of " + count + " records came");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
                    if (answers.size() == count) break;
                    answers.add(shown(record));
                    TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                    consumer.commitSync(Map.of(partition, new OffsetAndMetadata(record.offset() + 1)));
                }
            }
        }
        return answers;
    }

    private static ObjectNode shown(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode shown = JSON.createObjectNode().put("partition", record.partition()).put("offset", record.offset());
        shown.set("key", text(record.key()));
        shown.set("value", text(record.value()));
        for (Header header : record.headers()) {
            shown.withArray("headers").addArray().add(header.key()).add(text(header.value()));
        }
        return shown;
    }

    /** A consumer that is a member of its group and reads nothing. */
    private static final class Member {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final String topic;
        private final CountDownLatch joined = new CountDownLatch(1);
        private volatile Set<TopicPartition> assigned = Set.of();
        private volatile Throwable failure;
        private volatile GroupMembershipOperation ended;
        private final Thread thread = new Thread(this::run);

        private Member(KafkaConsumer<byte[], byte[]> consumer, String topic) {
            this.consumer = consumer;
            this.topic = topic;
            thread.setDaemon(true);
        }

        /** Joins; answers the partitions that it was given first. */
        private List<Object> join() throws Exception {
            thread.start();
            joined.await();
            if (failure != null) throw new IllegalStateException(failure);
            return assigned.stream().map(TopicPartition::partition).sorted().collect(Collectors.toList());
        }

        private void end(boolean leave) throws Exception {
            ended = leave ? GroupMembershipOperation.LEAVE_GROUP : GroupMembershipOperation.REMAIN_IN_GROUP;
            thread.join();
        }

        private void run() {
            try {
                consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                    @Override
                    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                        consumer.pause(partitions);
                        assigned = Set.copyOf(consumer.assignment());
                        joined.countDown();
                    }

                    @Override
                    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}
                });
                while (ended == null) consumer.poll(POLL);
                consumer.close(CloseOptions.groupMembershipOperation(ended));
            } catch (Throwable error) {
                failure = error;
                joined.countDown();
            }
        }
    }

    // ---------------------------------------------------------------- looking and administering

    private List<Object> describeGroup(String group) throws Exception {
        Map<TopicPartition, String> owners = new HashMap<>();
        try {
            for (var member : admin.describeConsumerGroups(List.of(group)).all().get().get(group).members()) {
                member.assignment().topicPartitions().forEach(owned -> owners.put(owned, member.consumerId()));
            }
        } catch (ExecutionException error) {
            if (error.getCause() instanceof GroupIdNotFoundException) return List.of();
            throw error;
        }
        var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        Map<String, ObjectNode> rows = new TreeMap<>();
        for (TopicPartition partition : union(owners.keySet(), committed.keySet())) {
            ObjectNode row = JSON.createObjectNode();
            row.put("topic", partition.topic()).put("partition", partition.partition());
            OffsetAndMetadata current = committed.get(partition);
            Long end = endOf(partition);
            row.put("current", current == null ? null : (Long) current.offset());
            row.put("metadata", current == null ? "" : current.metadata());
            row.put("end", end);
            row.put("lag", current == null || end == null ? null : (Long) (end - current.offset()));
            row.put("member", owners.get(partition));
            rows.put(String.format("%s %05d", partition.topic(), partition.partition()), row);
        }
        return List.copyOf(rows.values());
    }

    private Long endOf(TopicPartition partition) throws Exception {
        try {
            var offsets = admin.listOffsets(Map.of(partition, OffsetSpec.latest()));
            return offsets.partitionResult(partition).get().offset();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UnknownTopicOrPartitionException) return null;
            throw error;
        }
    }

    private List<Object> createTopic(String topic, int partitions, Map<String, String> settings) throws Exception {
        NewTopic wanted = new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(settings);
        admin.createTopics(List.of(wanted)).all().get();
        // The answer comes from the controller; brokers learn of the topic and elect its leaders a moment later.
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!hasLeaders(topic)) {
            if (System.nanoTime() > deadline) throw new IllegalStateException("topic " + topic + " has no leaders");
            Thread.sleep(20);
        }
        return List.of();
    }

    private boolean hasLeaders(String topic) throws Exception {
        try {
            var partitions = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions();
            return partitions.stream().noneMatch(one -> one.leader() == null || one.leader().isEmpty());
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UnknownTopicOrPartitionException) return false;
            throw error;
        }
    }

    private List<Object> deleteTopic(String topic) throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
        while (admin.listTopics().names().get().contains(topic)) Thread.sleep(20);
        return List.of();
    }

    // ---------------------------------------------------------------- small things

    private Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    private static TopicPartition partition(String topic, String number) {
        return new TopicPartition(topic, number(number));
    }

    private static int number(String text) {
        return Integer.parseInt(text);
    }

    private static Set<TopicPartition> union(Set<TopicPartition> one, Set<TopicPartition> other) {
        return Stream.concat(one.stream(), other.stream()).collect(Collectors.toSet());
    }

    /** NAME=VALUE of the arguments from the given one on. */
    private static Map<String, String> pairs(List<String> arguments, int from) {
        var pairs = arguments.stream().skip(from).map(pair -> pair.split("=", 2));
        return pairs.collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
    }

    private static List<String> strings(JsonNode array) {
        List<String> strings = new ArrayList<>();
        if (array != null) array.forEach(item -> strings.add(item.isTextual() ? item.asText() : item.toString()));
        return strings;
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Text as text, other bytes as an array of numbers. */
    private static JsonNode text(byte[] bytes) {
        if (bytes == null) return JSON.nullNode();
        try {
            var text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
            return JSON.getNodeFactory().textNode(text.toString());
        } catch (CharacterCodingException error) {
            var numbers = JSON.createArrayNode();
            for (byte number : bytes) numbers.add(number & 0xff);
            return numbers;
        }
    }

    private static byte[] bytes(JsonNode data) {
        if (!data.isArray()) return utf8(data.asText());
        byte[] bytes = new byte[data.size()];
        for (int index = 0; index < bytes.length; index++) bytes[index] = (byte) data.get(index).asInt();
        return bytes;
    }
}
