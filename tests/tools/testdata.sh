# Sourced by the test targets: finds the conformance data of others beside the checkout, unless PELTON_TESTDATA says where it is.
if [ -z "${PELTON_TESTDATA:-}" ] && [ -d ../shared/testdata ]; then
    PELTON_TESTDATA=$(cd ../shared/testdata && pwd)
    export PELTON_TESTDATA
fi
if [ -z "${PELTON_TESTDATA:-}" ]; then
    echo "PELTON_TESTDATA is not set: conformance suites that read the data of others are skipped" >&2
fi
