//! Which address holds how many connections, so that nobody can take the places of all others.
//!
//! One table for all serving threads, behind a lock that is taken once when a connection comes and once when it goes,
//! never for a request. A network of IPv6 addresses that one customer usually has (/64) counts as one address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ahash::RandomState;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::settings::EdgeSettings;

/// The connections by address.
#[derive(Debug)]
pub(super) struct Addresses {
    /// 0: as many as places are free.
    most: u64,
    trusted: Vec<IpNet>,
    held: Mutex<HashMap<IpAddr, u64, RandomState>>,
}

impl Addresses {
    pub fn new(settings: &EdgeSettings) -> Arc<Self> {
        Arc::new(Self {
            most: settings.connections_per_address_max as u64,
            trusted: settings.trusted_proxies.clone(),
            held: Mutex::default(),
        })
    }

    /// Whether the address is a proxy's that carries many clients.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// A place for one more connection of the address, with `free` places left for everybody. `None` when it has as many
    /// as it may have. Without a number of its own, an address may have as many as it leaves free: one alone gets half of
    /// all places, and each of many less, so that the next one always finds some.
    pub fn enter(self: &Arc<Self>, address: IpAddr, free: u64) -> Option<Held> {
        let address = network_of(address);
        let most = if self.most == 0 { free } else { self.most };
        let mut held = self.held.lock();
        let count = held.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Held { addresses: Arc::clone(self), address })
    }
}

/// What counts as one address.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 64))),
        address => address,
    }
}

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Held {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.addresses.held.lock();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// Requests under way on one thread, by the client that a trusted proxy names: such a client has no connections of its
/// own that could be counted. Of the thread alone, without a lock.
#[derive(Debug)]
pub(super) struct Clients {
    most: usize,
    under_way: RefCell<HashMap<IpAddr, usize, RandomState>>,
}

impl Clients {
    /// As many over all threads as an address may have connections.
    pub fn new(settings: &EdgeSettings) -> Self {
        let most = settings.connections_per_address_max.div_ceil(settings.serving_threads());
        Self { most, under_way: RefCell::default() }
    }

    /// Whether there is a limit at all.
    pub fn are_limited(&self) -> bool {
        self.most > 0
    }

    /// A place for one more request of the client. `None` when it has as many as it may have.
    pub fn enter(&self, client: IpAddr) -> Option<UnderWay<'_>> {
        let client = network_of(client);
        let mut under_way = self.under_way.borrow_mut();
        let count = under_way.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(UnderWay { clients: self, client })
    }
}

/// A request under way; it counts until dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    clients: &'a Clients,
    client: IpAddr,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.clients.under_way.borrow_mut();
        if let Some(count) = under_way.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_alone_takes_half_and_the_next_finds_places() {
        let addresses = Addresses::new(&EdgeSettings::default());
        let mut places = Vec::new();
        let mut crowd = |address: &str, free_of: u64| {
            let before = places.len();
            while let Some(place) = addresses.enter(ip(address), free_of - places.len() as u64) {
                places.push(place);
            }
            places.len() - before
        };
        assert_eq!(crowd("192.0.2.1", 100), 50);
        assert_eq!(crowd("192.0.2.2", 100), 25);
        assert_eq!(crowd("192.0.2.3", 100), 13);
        drop(places);
        assert!(addresses.held.lock().is_empty());
    }

    #[test]
    fn a_number_of_its_own_is_kept() {
        let settings = EdgeSettings { connections_per_address_max: 2, ..EdgeSettings::default() };
        let addresses = Addresses::new(&settings);
        let _first = addresses.enter(ip("192.0.2.1"), 1).unwrap();
        let second = addresses.enter(ip("::ffff:192.0.2.1"), 1).unwrap();
        assert!(addresses.enter(ip("192.0.2.1"), 1).is_none());
        assert!(addresses.enter(ip("192.0.2.2"), 1).is_some());
        drop(second);
        assert!(addresses.enter(ip("192.0.2.1"), 1).is_some());
    }

    #[test]
    fn a_customers_ipv6_network_is_one_address() {
        assert_eq!(network_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network_of(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let addresses = Addresses::new(&EdgeSettings { trusted_proxies, ..EdgeSettings::default() });
        assert!(addresses.is_trusted(ip("::ffff:10.1.2.3")) && addresses.is_trusted(ip("2001:db8::1")));
        assert!(!addresses.is_trusted(ip("192.0.2.1")));
    }
}
