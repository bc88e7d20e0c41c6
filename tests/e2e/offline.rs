//! The command line without a running Pelton.

#[test]
fn what_works_offline() {
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(pelton_tests::pelton::binary()).args(arguments).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (done, out, _) = run(&["config", "show"]);
    assert!(done && out.contains("127.0.0.1:8080") && out.contains("default"), "{out}");
    let (done, out, _) = run(&["explain", "PEL-1201"]);
    assert!(done && out.contains("PEL-1201"), "{out}");
    assert!(!run(&["explain", "PEL-9999"]).0);
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    for example in ["quickstart", "ai-service"] {
        let (done, out, error) = run(&["check", &format!("{examples}/{example}")]);
        assert!(done, "{out}{error}");
    }
    for command in [
        "run",
        "apply",
        "delete",
        "pause",
        "resume",
        "traffic",
        "rollback",
        "logs",
        "send",
        "tail",
        "sink",
        "get",
        "describe",
        "dead-letters",
        "replay",
        "check",
        "match",
        "config",
        "explain",
    ] {
        let (done, out, _) = run(&[command, "--help"]);
        assert!(done && out.contains("pelton"), "{command} --help: {out}");
    }
}
