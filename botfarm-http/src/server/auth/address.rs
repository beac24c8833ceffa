//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, request::Parts};

/// The other end of the connection; put into each request by [`serve`](crate::serve).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The address that a caller's logins are counted by: of IPv6 the network, since a host has as many addresses as it
/// likes within its own.
pub(super) fn of(parts: &Parts, behind_proxy: bool) -> Option<IpAddr> {
    let forwarded = behind_proxy.then(|| forwarded(&parts.headers)).flatten();
    forwarded.or_else(|| parts.extensions.get().map(|Peer(address)| *address)).map(network)
}

/// What the proxy next to us has appended; the entries before it are the caller's own invention.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str], behind_proxy: bool) -> String {
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        for value in forwarded {
            request.headers_mut().append("x-forwarded-for", value.parse().unwrap());
        }
        of(&request.into_parts().0, behind_proxy).unwrap().to_string()
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        assert_eq!(seen("192.0.2.7", &[], false), "192.0.2.7");
        assert_eq!(seen("::ffff:192.0.2.7", &[], false), "192.0.2.7");
        assert_eq!(seen("2001:db8:1:2:3:4:5:6", &[], false), "2001:db8:1:2::");
    }

    #[test]
    fn a_proxy_is_believed_in_what_it_has_added_itself_and_only_where_there_is_one() {
        let forwarded = ["203.0.113.9", "198.51.100.1, 198.51.100.2"];
        assert_eq!(seen("192.0.2.7", &forwarded, true), "198.51.100.2");
        assert_eq!(seen("192.0.2.7", &forwarded, false), "192.0.2.7");
        assert_eq!(seen("192.0.2.7", &["198.51.100.1, unknown"], true), "192.0.2.7");
    }
}
