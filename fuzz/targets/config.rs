//! A configuration file and, behind a line `#`, environment variables as lines `SECTION__KEY: value`.
#![no_main]

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pelton_fuzz::lines_and_body;
use pelton_runtime::config::{ConfigErrors, ENVIRONMENT_PREFIX, Effective, load};

/// A token that nothing may tell.
const TOKEN: &str = "c4n4ry";

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("pelton-fuzz-config-{}.toml", std::process::id())));

fuzz_target!(|input: &[u8]| {
    let end = input.windows(3).position(|bytes| bytes == b"\n#\n").unwrap_or(input.len());
    let (file, variables) = (&input[..end], input.get(end + 3..).unwrap_or_default());
    let variables: Vec<(OsString, OsString)> = lines_and_body(variables)
        .0
        .into_iter()
        .filter_map(|(name, value)| {
            let name = format!("{ENVIRONMENT_PREFIX}{}", String::from_utf8_lossy(name));
            Some((name.into(), String::from_utf8_lossy(value?).trim().into()))
        })
        .collect();
    let mut file = file.to_vec();
    check_settings(read(&file, variables.clone()));
    file.extend_from_slice(format!("\n[admin]\ntoken = \"{TOKEN}\"\n").as_bytes());
    match read(&file, variables) {
        Ok(settings) => assert!(!format!("{settings:?} {:?}", settings.show()).contains(TOKEN)),
        Err(errors) => assert!(!format!("{errors} {errors:?}").contains(TOKEN), "{errors}"),
    }
});

fn read(text: &[u8], variables: Vec<(OsString, OsString)>) -> Result<Effective, ConfigErrors> {
    let mut file = std::fs::File::create(&*FILE).expect("the directory for temporary files");
    file.write_all(text).expect("room for a small file");
    load(Some(Path::new(&*FILE)), variables, [])
}

fn check_settings(settings: Result<Effective, ConfigErrors>) {
    let settings = match settings {
        Ok(settings) => settings,
        Err(errors) => {
            assert!(!errors.0.is_empty());
            assert!(errors.0.iter().all(|error| error.code().starts_with("PEL-15")), "{errors}");
            return;
        }
    };
    // What is in force is a file that gives the same settings; only secrets are not told.
    let written = toml::to_string(&settings.config).expect("settings have a TOML form");
    let back = read(written.as_bytes(), Vec::new()).unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(toml::to_string(&back.config).as_ref(), Ok(&written));
}
