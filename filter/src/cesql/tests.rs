//! CESQL cases of our own, beside the specification's test suite in `tests/cesql_tck.rs`.
