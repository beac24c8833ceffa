//! Where a request comes from.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, HeaderName, request::Parts},
};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What proxies add to a request that they hand on.
const ADDED: [HeaderName; 5] = [
    FORWARDED_FOR,
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("via"),
];

/// Where a proxy is whose `X-Forwarded-For` is believed: an address, or a network such as `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy(IpNet);

impl FromStr for Proxy {
    type Err = NoProxy;

    fn from_str(text: &str) -> Result<Self, NoProxy> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| Self(network.trunc())).map_err(|_| NoProxy)
    }
}

/// Why a text is no [`Proxy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoProxy;

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be an address or a network, such as 10.1.2.3, 10.1.0.0/16 or fd00::/8")
    }
}

impl std::error::Error for NoProxy {}

/// The other end of the connection; put into each request by [`serve`](crate::serve).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who has sent a request, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Client(pub(crate) Option<IpAddr>);

impl Client {
    /// What logins are counted by: of IPv6 the network, since a host has as many addresses as it likes within its own.
    pub(crate) fn network(self) -> Option<IpAddr> {
        self.0.map(|address| match address {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

/// The proxies that are believed.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    trusted: Vec<Proxy>,
    warned: AtomicBool,
}

impl Proxies {
    pub(crate) fn new(trusted: Vec<Proxy>) -> Self {
        Self { trusted, warned: AtomicBool::new(false) }
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|Proxy(network)| network.contains(&address))
    }

    /// Who has sent a request: the other end of the connection; where that is a proxy that is believed, whom it names,
    /// and so on.
    pub(crate) fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Client {
        let Some(Peer(peer)) = extensions.get() else { return Client(None) };
        let mut client = peer.to_canonical();
        if !self.trust(client) {
            if headers.contains_key(FORWARDED_FOR) && !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "a request from {client} says by X-Forwarded-For that it comes from elsewhere, and is not believed; \
                     if that is your proxy, name it with --trusted-proxy {client}"
                );
            }
            return Client(Some(client));
        }
        // Each has appended whom it has heard from: those before the first that is not believed are inventions.
        let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let entries: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
        for entry in entries.into_iter().rev() {
            let Some(address) = address(entry.trim()) else { break };
            client = address;
            if !self.trust(client) {
                break;
            }
        }
        Client(Some(client))
    }

    /// What shows that a request came through a proxy that is not believed.
    pub(crate) fn added_by_a_stranger(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<HeaderName> {
        let peer = extensions.get().map(|Peer(peer)| peer.to_canonical());
        if peer.is_some_and(|peer| self.trust(peer)) {
            return None;
        }
        ADDED.into_iter().find(|name| headers.contains_key(name))
    }
}

/// An address, perhaps with a port, and in IPv6 perhaps in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
        extensions.insert(Peer(peer.parse().unwrap()));
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let proxies = Proxies::new(trusted.iter().map(|proxy| proxy.parse().unwrap()).collect());
        proxies.client(&extensions, &headers).network().unwrap().to_string()
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        assert_eq!(seen("192.0.2.7", &[], &[]), "192.0.2.7");
        assert_eq!(seen("::ffff:192.0.2.7", &[], &[]), "192.0.2.7");
        assert_eq!(seen("2001:db8:1:2:3:4:5:6", &[], &[]), "2001:db8:1:2::");
    }

    #[test]
    fn a_proxy_is_believed_when_it_is_named_in_what_it_has_added_itself() {
        let forwarded = ["203.0.113.9", "198.51.100.1, 198.51.100.2"];
        assert_eq!(seen("192.0.2.7", &forwarded, &[]), "192.0.2.7");
        assert_eq!(seen("192.0.2.7", &forwarded, &["192.0.3.0/24", "::/0"]), "192.0.2.7");
        assert_eq!(seen("192.0.2.7", &forwarded, &["192.0.2.0/24"]), "198.51.100.2");
        assert_eq!(seen("::ffff:192.0.2.7", &forwarded, &["192.0.2.7"]), "198.51.100.2");
        assert_eq!(seen("192.0.2.7", &forwarded, &["192.0.2.7", "198.51.100.2"]), "198.51.100.1");
        assert_eq!(seen("192.0.2.7", &["198.51.100.1, unknown"], &["192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn an_address_may_have_a_port_and_brackets() {
        for (entry, expected) in [
            ("198.51.100.2:4711", "198.51.100.2"),
            ("[2001:db8:1:2::9]:4711", "2001:db8:1:2::"),
            ("[2001:db8:1:2::9]", "2001:db8:1:2::"),
            ("2001:db8:1:2::9", "2001:db8:1:2::"),
            ("::ffff:198.51.100.2", "198.51.100.2"),
            ("_hidden", "192.0.2.7"),
        ] {
            assert_eq!(seen("192.0.2.7", &[entry], &["192.0.2.7"]), expected, "{entry}");
        }
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        for good in ["10.1.2.3", "10.1.0.0/16", "10.1.2.3/16", "fd00::/8", "::1"] {
            assert!(good.parse::<Proxy>().is_ok(), "{good}");
        }
        for bad in ["", "proxy", "10.1.2.3/33", "10.1.2", "10.1.2.3:80"] {
            assert_eq!(bad.parse::<Proxy>(), Err(NoProxy), "{bad}");
        }
    }
}
