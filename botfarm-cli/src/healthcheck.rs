//! `botfarm healthcheck`: for container images, which have no curl.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Args;

use crate::{client, config::Config, failure::Failure, stdout::print};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Succeeds when the service can serve
///
/// Asks the service that --farm names, when it is an http:// or https:// URL. Otherwise the farm is the store of the
/// service on this machine, so that is asked, where --listen has it.
#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    /// Where the service on this machine listens [default: 127.0.0.1:8000]
    #[arg(long, value_name = "HOST:PORT", env = "BOTFARM_LISTEN")]
    listen: Option<String>,
}

impl Healthcheck {
    /// Asks.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let url = match config.farm {
            Some(url) if url.starts_with("http") => url,
            _ => match self.listen.or(config.file.listen) {
                Some(listen) => format!("http://{}", reachable(&listen)),
                None => client::LOCAL.to_owned(),
            },
        };
        let farm = botfarm::connect(&url).await?;
        match tokio::time::timeout(PATIENCE, farm.check()).await {
            Ok(checked) => checked?,
            Err(_) => return Err(Failure::new(format!("{url} did not answer within {} s", PATIENCE.as_secs()))),
        }
        print("healthy")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where to reach what listens there: a service that listens everywhere does so on the loopback address.
fn reachable(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() && address.is_ipv4() => format!("127.0.0.1:{}", address.port()),
        Ok(address) if address.ip().is_unspecified() => format!("[::1]:{}", address.port()),
        _ => listen.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_listens_everywhere_is_reached_on_the_loopback_address() {
        assert_eq!(reachable("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reachable("[::]:8080"), "[::1]:8080");
        assert_eq!(reachable("10.0.0.7:80"), "10.0.0.7:80");
        assert_eq!(reachable("localhost:8000"), "localhost:8000");
    }
}
