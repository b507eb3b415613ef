//! Which addresses may be connected to. Whoever names an endpoint could name a machine behind the firewall, or the address
//! where a cloud hands out its keys: what is not of the public network is refused unless an operator allows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use reqwest::Url;

/// Networks that are not public: private, of this machine or link, reserved, for groups, for documentation. And one address of
/// the public network under which Azure answers each of its machines as their own host, with keys and settings, as others do at
/// 169.254.169.254 (learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
const PRIVATE: [&str; 27] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/9",
    "ff00::/8",
];

/// What may be connected to.
#[derive(Clone, Debug)]
pub(super) struct Networks {
    private: Vec<IpNet>,
    allowed: Vec<IpNet>,
}

impl Networks {
    /// The public network, and these.
    pub fn with_allowed(allowed: Vec<IpNet>) -> Self {
        let private = PRIVATE.iter().map(|network| network.parse().expect("it is a network"));
        Self { private: private.collect(), allowed }
    }

    /// Whether this address may be connected to. What leads to an address of version 4 in the end is judged as that one.
    pub fn allow(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[IpNet], address: IpAddr| networks.iter().any(|it| it.contains(&address));
        let leads_to = inner(address);
        let is_private = [Some(address), leads_to].into_iter().flatten().any(|it| is_in(&self.private, it));
        !is_private || [Some(address), leads_to].into_iter().flatten().any(|it| is_in(&self.allowed, it))
    }
}

/// The address of version 4 within one of version 6 that is mapped, translated (NAT64, SIIT) or tunnelled (6to4) there.
fn inner(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let parts = address.segments();
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match parts {
        // Mapped, and the form of old that is compatible.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if address != Ipv6Addr::LOCALHOST => of(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

/// The address that a URL names, where it names one and no host.
pub(super) fn address_of(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_refused_however_it_is_written() {
        let networks = Networks::with_allowed(Vec::new());
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:0:4136:e378::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(!networks.allow(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "168.63.129.17",
            "172.32.0.1",
            "100.63.255.255",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "::ffff:0:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(networks.allow(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_alone() {
        let networks = Networks::with_allowed(vec!["10.1.0.0/16".parse().unwrap()]);
        for (address, allowed) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("10.2.0.1", false), ("127.0.0.1", false)]
        {
            assert_eq!(networks.allow(address.parse().unwrap()), allowed, "{address}");
        }
    }
}
