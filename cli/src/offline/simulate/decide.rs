//! `pelton simulate decide`: what is decided on recorded metrics.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use pelton_serving_scaler::decision::kpa::Spec;
use pelton_serving_scaler::signals::Aggregation;
use pelton_serving_scaler::simulator::{Recorded, RecordedSpec, Row};
use serde::{Deserialize, Deserializer};

use crate::failure::Failure;
use crate::output::Format;

#[derive(Debug, Args)]
#[command(after_help = r#"Example:
  printf 'target: 7\ntotal: 10\n' > spec.yaml
  printf 't,value,ready\n1,3,1\n2,30,1\n3,,1\n4,90,5\n' | pelton simulate decide --spec spec.yaml --input -

The spec is YAML with any of: policy (kpa), metric (concurrency, rps), target (70), total (100), targetBurstCapacity (211),
panicThreshold (2, or in percent: 200), maxScaleUpRate (1000), maxScaleDownRate (2), stableWindow (60s),
panicWindowPercentage (10), scaleDownDelay (0s), activationScale, reachable (true), aggregation (linear, weighted).
The input has a row for each second: t, the value measured in it (empty: none), and the replicas that are ready. On every
even t there is a row of output; where nothing is known, the averages are empty and the last decision stays."#)]
pub(crate) struct Arguments {
    /// File with what is decided by
    #[arg(long, value_name = "FILE.yaml")]
    spec: PathBuf,
    /// File with the metrics; `-` is standard input
    #[arg(long, value_name = "FILE.csv")]
    input: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct SpecFile {
    policy: Policy,
    #[serde(rename = "metric")]
    _metric: Metric,
    target: f64,
    total: f64,
    target_burst_capacity: f64,
    panic_threshold: f64,
    max_scale_up_rate: f64,
    max_scale_down_rate: f64,
    #[serde(deserialize_with = "duration")]
    stable_window: Duration,
    panic_window_percentage: f64,
    #[serde(deserialize_with = "duration")]
    scale_down_delay: Duration,
    activation_scale: i32,
    reachable: bool,
    aggregation: AggregationName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Policy {
    #[default]
    Kpa,
}

/// What was measured: the decision is the same for each.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Metric {
    #[default]
    Concurrency,
    Rps,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AggregationName {
    #[default]
    Linear,
    #[serde(alias = "weighted-exponential", alias = "weightedExponential")]
    Weighted,
}

impl Default for SpecFile {
    fn default() -> Self {
        let spec = Spec::default();
        Self {
            policy: Policy::default(),
            _metric: Metric::default(),
            target: spec.target,
            total: spec.total,
            target_burst_capacity: spec.target_burst_capacity,
            panic_threshold: spec.panic_threshold,
            max_scale_up_rate: spec.max_scale_up_rate,
            max_scale_down_rate: spec.max_scale_down_rate,
            stable_window: spec.stable_window,
            panic_window_percentage: 10.0,
            scale_down_delay: spec.scale_down_delay,
            activation_scale: spec.activation_scale,
            reachable: spec.reachable,
            aggregation: AggregationName::default(),
        }
    }
}

/// A duration such as `60s`, `1m30s` or `PT60S`, or a number of seconds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Seconds(f64),
        Text(String),
    }
    let wrong = |text: &str| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration; write 60s, 1m30s, PT60S or a number of seconds"
        ))
    };
    match Text::deserialize(deserializer)? {
        Text::Seconds(seconds) => {
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong(&seconds.to_string()))
        }
        Text::Text(text) => {
            let parsed = text.parse::<jiff::SignedDuration>().ok();
            parsed.and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| wrong(&text))
        }
    }
}

impl SpecFile {
    fn read(path: &Path) -> Result<RecordedSpec, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let file: Self = serde_saphyr::from_str(&text).map_err(|error| wrong(path, &error.to_string()))?;
        file.checked().map_err(|reason| wrong(path, &reason))
    }

    fn checked(self) -> Result<RecordedSpec, String> {
        let Policy::Kpa = self.policy;
        let positive = |name: &str, value: f64, least: f64| {
            if value.is_finite() && value >= least {
                Ok(())
            } else {
                Err(format!("{name} is {value}; it has to be at least {least}"))
            }
        };
        positive("target", self.target, 0.01)?;
        positive("total", self.total, 0.01)?;
        positive("maxScaleUpRate", self.max_scale_up_rate, 1.0)?;
        positive("maxScaleDownRate", self.max_scale_down_rate, 1.0)?;
        positive("panicThreshold", self.panic_threshold, 1.0)?;
        if self.target_burst_capacity != -1.0 {
            positive("targetBurstCapacity (if it is not -1)", self.target_burst_capacity, 0.0)?;
        }
        if !(1.0..=100.0).contains(&self.panic_window_percentage) {
            return Err(format!(
                "panicWindowPercentage is {}; it goes from 1 to 100",
                self.panic_window_percentage
            ));
        }
        if self.stable_window < Duration::from_secs(1) || self.stable_window > Duration::from_secs(3600) {
            return Err(format!("stableWindow is {:?}; it goes from 1s to 1h", self.stable_window));
        }
        let percent = self.panic_threshold >= PERCENT_FROM;
        Ok(RecordedSpec {
            decision: Spec {
                target: self.target,
                total: self.total,
                target_burst_capacity: self.target_burst_capacity,
                panic_threshold: if percent { self.panic_threshold / 100.0 } else { self.panic_threshold },
                max_scale_up_rate: self.max_scale_up_rate,
                max_scale_down_rate: self.max_scale_down_rate,
                stable_window: self.stable_window,
                scale_down_delay: self.scale_down_delay,
                activation_scale: self.activation_scale,
                reachable: self.reachable,
            },
            panic_window_percentage: self.panic_window_percentage,
            aggregation: match self.aggregation {
                AggregationName::Linear => Aggregation::Linear,
                AggregationName::Weighted => Aggregation::Weighted,
            },
        })
    }
}

/// A panic threshold from here on is in percent, as the annotation has it (110 to 1000).
const PERCENT_FROM: f64 = 100.0;

fn wrong(path: &Path, reason: &str) -> Failure {
    Failure::usage(Some("PEL-1708"), format!("{}: {reason}", path.display()))
}

/// A second of the input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    t: u64,
    value: Option<f64>,
    ready: u32,
}

pub(crate) fn run(arguments: &Arguments, format: Format) -> Result<(), Failure> {
    if format != Format::Table {
        return Err(Failure::usage(Some("PEL-1708"), "`pelton simulate decide` answers CSV; leave -o off"));
    }
    let spec = SpecFile::read(&arguments.spec)?;
    let path = &arguments.input;
    let input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(|error| Failure::file(path, &error))?)
    };
    decide(spec, input, std::io::stdout().lock()).map_err(|error| match error {
        Error::Input(reason) => wrong(path, &reason),
        Error::Output(error) => Failure::failed(None, format!("the answer cannot be written: {error}")),
    })
}

#[derive(Debug)]
enum Error {
    Input(String),
    Output(csv::Error),
}

fn decide(spec: RecordedSpec, input: impl Read, output: impl Write) -> Result<(), Error> {
    let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let mut decided = csv::Writer::from_writer(output);
    let header = ["t", "stable", "panic", "desired", "excess_burst_capacity", "panic_mode"];
    decided.write_record(header).map_err(Error::Output)?;
    let mut recorded: Option<Recorded> = None;
    let mut spec = Some(spec);
    let mut last = None;
    for row in rows.deserialize() {
        let Measured { t, value, ready } = row.map_err(|error| Error::Input(error.to_string()))?;
        if last.is_some_and(|last| t <= last) {
            return Err(Error::Input(format!("t is {t} after {}; it has to grow", last.unwrap_or_default())));
        }
        last = Some(t);
        if let Some(spec) = spec.take() {
            recorded = Some(Recorded::new(spec, t, ready));
        }
        let row = recorded.as_mut().and_then(|recorded| recorded.second(t, value, ready));
        if let Some(row) = row {
            decided.write_record(shown(&row)).map_err(Error::Output)?;
        }
    }
    decided.flush().map_err(|error| Error::Output(error.into()))
}

fn shown(row: &Row) -> [String; 6] {
    let average =
        |of: fn((f64, f64)) -> f64| row.averages.map_or_else(String::new, |both| of(both).to_string());
    [
        row.second.to_string(),
        average(|(stable, _)| stable),
        average(|(_, panic)| panic),
        row.decision.desired.to_string(),
        row.decision.excess_burst_capacity.to_string(),
        row.decision.is_panicking.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> Result<RecordedSpec, String> {
        serde_saphyr::from_str::<SpecFile>(yaml).map_err(|error| error.to_string())?.checked()
    }

    fn decided(yaml: &str, input: &str) -> Result<String, String> {
        let mut output = Vec::new();
        match decide(spec(yaml)?, input.as_bytes(), &mut output) {
            Ok(()) => Ok(String::from_utf8(output).unwrap()),
            Err(Error::Input(reason)) => Err(reason),
            Err(Error::Output(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn recorded_metrics_are_decided_on() {
        let input = "t,value,ready\n1,1,1\n2,1,1\n3,100,1\n4,100,1\n5,,1\n6,,5\n";
        let output = "t,stable,panic,desired,excess_burst_capacity,panic_mode\n\
                      2,1,1,1,-202,false\n\
                      4,50.5,50.5,8,-252,true\n\
                      6,50.5,50.5,8,-212,true\n";
        let yaml = "policy: kpa\nmetric: concurrency\ntarget: 7\ntotal: 10\npanicThreshold: 200\nstableWindow: 60s\n";
        assert_eq!(decided(yaml, input).as_deref(), Ok(output));
        let as_factor = yaml.replace("200", "2").replace("60s", "PT1M");
        assert_eq!(decided(&as_factor, input).as_deref(), Ok(output));
    }

    #[test]
    fn nothing_known_leaves_averages_empty() {
        let output = decided("stableWindow: 6\ntarget: 10\n", "t, value, ready\n2,,3\n4,10,3\n").unwrap();
        let rows: Vec<_> = output.lines().skip(1).collect();
        assert_eq!(rows, ["2,,,-1,-111,true", "4,10,10,3,79,true"]);
    }

    #[test]
    fn mistakes_are_named() {
        let yaml = [
            ("target: 0\n", "target is 0"),
            ("targets: 1\n", "targets"),
            ("stableWindow: soon\n", "no duration"),
            ("policy: magic\n", "magic"),
            ("targetBurstCapacity: -2\n", "-1"),
            ("panicWindowPercentage: 0\n", "1 to 100"),
        ];
        for (yaml, part) in yaml {
            let error = spec(yaml).unwrap_err();
            assert!(error.contains(part), "{yaml}: {error}");
        }
        let input = [
            ("t,value\n1,2\n", "ready"),
            ("t,value,ready\n2,1,1\n2,1,1\n", "t is 2 after 2"),
            ("t,value,ready\n1,x,1\n", "line: 2"),
        ];
        for (input, part) in input {
            let error = decided("target: 1\n", input).unwrap_err();
            assert!(error.contains(part), "{input}: {error}");
        }
    }
}
