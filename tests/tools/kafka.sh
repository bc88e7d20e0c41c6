# Sourced by the end-to-end target: fetches a real Kafka, unless PELTON_KAFKA_LIBS says where its jars are. Without one the
# Kafka tests are skipped; where skips are failures (PELTON_NO_SKIPS), that is one.
if [ -z "${PELTON_KAFKA_LIBS:-}" ]; then
    if ./tests/kafka/fetch.sh; then
        export PELTON_KAFKA_LIBS="$PWD/target/kafka-libs"
    else
        echo "skipped: the Kafka tests" >&2
        [ -z "${PELTON_NO_SKIPS:-}" ]
    fi
fi
