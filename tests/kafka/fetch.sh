#!/usr/bin/env bash
# Fetches the jars of a real Apache Kafka (pom.xml) into target/kafka-libs, once. They come from Maven Central.
set -euo pipefail
cd "$(dirname "$0")"
libs=$(cd ../.. && pwd)/target/kafka-libs
stamp=$libs/.fetched

fail() {
    echo "no Kafka for the tests: $1" >&2
    exit 1
}

command -v java >/dev/null || fail "no java (a JDK of version 17 or later is needed)"
java=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p')
[ "${java%%.*}" -ge 17 ] || fail "java is of version $java, 17 or later is needed"
# The tests' own client is a source file that java compiles, which a bare runtime environment cannot.
java --list-modules | grep -q '^jdk.compiler' || fail "java is a runtime environment, a JDK is needed"

# The stamp is a copy of the pom.xml, made last: an interrupted fetch is not taken for done.
if cmp -s pom.xml "$stamp"; then exit 0; fi

command -v mvn >/dev/null || fail "no mvn (Maven)"
echo "fetching Kafka's jars into $libs (once, about 55 MB)"
rm -rf "$libs"
mkdir -p "$libs"
mvn --quiet --batch-mode --file pom.xml dependency:copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$libs" || fail "Maven could not fetch the jars"
cp pom.xml "$stamp"
