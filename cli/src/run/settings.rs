//! The settings: flags as the last of the configuration's layers.

use std::path::PathBuf;

use clap::Args;
use pelton_runtime::config::{self, Effective, Flag};

use crate::failure::Failure;

/// The flags that are settings.
#[derive(Debug, Args)]
pub(crate) struct SettingArguments {
    /// Configuration file (deploy/config/default.toml explains every setting)
    #[arg(long, env = "PELTON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything Pelton keeps [default: ./pelton-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address where events come in [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    ingress: Option<String>,
    /// Address of health, metrics and the admin API [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Address of the gateway to Services (arrives with serving)
    #[arg(long, hide = true, value_name = "ADDR")]
    gateway: Option<String>,
    /// Address of the EventBridge API (arrives with the adapter)
    #[arg(long, hide = true, value_name = "ADDR")]
    event_bridge: Option<String>,
}

impl SettingArguments {
    /// All layers together.
    pub(crate) fn load(&self) -> Result<Effective, Failure> {
        let effective = config::load(self.config.as_deref(), std::env::vars_os(), self.flags())
            .map_err(|errors| Failure::usage(Some(errors.code()), errors.to_string()))?;
        // A flag that does nothing would be worse than none.
        for (flag, value) in [("--gateway", &self.gateway), ("--event-bridge", &self.event_bridge)] {
            if value.is_some() {
                return Err(Failure::usage(
                    Some("PEL-1710"),
                    format!("{flag}: this version does not serve that listener"),
                ));
            }
        }
        Ok(effective)
    }

    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("data.dir", "--data", &self.data),
            ("listen.ingress", "--ingress", &self.ingress),
            ("listen.admin", "--admin", &self.admin),
        ];
        let given = |(key, name, value): (&'static str, &'static str, &Option<String>)| {
            value.clone().map(|value| Flag { key, name, value })
        };
        flags.into_iter().filter_map(given).collect()
    }
}
