//! A Redis Cluster of one's own, whose slots can be moved.

use super::redis::RedisServer;
use crate::until;

/// A running Cluster; ended with the value.
#[derive(Debug)]
pub struct RedisCluster {
    /// Its masters, in the order of their slots.
    pub masters: Vec<RedisServer>,
    /// A replica of each master, in the same order; none when none were asked for.
    pub replicas: Vec<RedisServer>,
}

/// How many slots there are.
const SLOTS: usize = 16_384;

/// A node that is not heard for so long is given up by the others, in ms.
const NODE_TIMEOUT_MS: &str = "1000";

impl RedisCluster {
    /// Starts so many masters, each with a replica if asked for, with these options, and waits until they know each other.
    ///
    /// # Panics
    /// They do not start, or do not find each other.
    pub fn start(masters: usize, has_replicas: bool, settings: &[&str]) -> Self {
        let mut options =
            vec!["--cluster-enabled", "yes", "--appendonly", "no", "--cluster-node-timeout", NODE_TIMEOUT_MS];
        options.extend(settings);
        let start = || (0..masters).map(|_| RedisServer::start_with(&options)).collect::<Vec<_>>();
        let cluster = Self { masters: start(), replicas: if has_replicas { start() } else { Vec::new() } };
        for (place, master) in cluster.masters.iter().enumerate() {
            let (first, next) = (place * SLOTS / masters, (place + 1) * SLOTS / masters);
            master.command(&format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1));
        }
        let known = cluster.masters.len() + cluster.replicas.len();
        let first = &cluster.masters[0];
        let others = cluster.nodes().skip(1);
        others.for_each(|node| {
            drop(node.command(&format!("CLUSTER MEET 127.0.0.1 {}", first.address().port())))
        });
        until("the nodes of the Cluster know each other", || {
            cluster.nodes().all(|node| {
                let about = node.command("CLUSTER INFO");
                about.contains("cluster_state:ok")
                    && about.contains(&format!("cluster_known_nodes:{known}\r\n"))
            })
        });
        for (replica, master) in cluster.replicas.iter().zip(&cluster.masters) {
            let follow = format!("CLUSTER REPLICATE {}", id(master));
            until("a replica knows its master", || replica.command(&follow) == "OK\n");
            until("a replica has what its master has", || {
                replica.command("INFO replication").contains("master_link_status:up")
            });
        }
        cluster
    }

    /// Waits until all nodes have found each other again, and every replica, whoever it is now, follows its master.
    ///
    /// # Panics
    /// They do not.
    pub fn until_whole(&self) {
        until("the Cluster is whole", || {
            self.nodes().all(|node| {
                let role = node.command("INFO replication");
                let all = node.command("CLUSTER NODES");
                let is_lost = all.contains("fail") || all.contains(" disconnected");
                let follows = role.contains("role:master") || role.contains("master_link_status:up");
                node.command("CLUSTER INFO").contains("cluster_state:ok") && follows && !is_lost
            })
        });
    }

    fn nodes(&self) -> impl Iterator<Item = &RedisServer> {
        self.masters.iter().chain(&self.replicas)
    }

    /// The addresses of the masters as an engine takes them.
    pub fn url(&self) -> String {
        self.masters.iter().map(RedisServer::url).collect::<Vec<_>>().join(",")
    }

    /// The place of the master that has the slot of this key now.
    ///
    /// # Panics
    /// None has.
    pub fn owner_of(&self, key: &str) -> usize {
        let owned =
            |master: &RedisServer| master.command(&format!("EXISTS {key}")).trim().parse::<u8>().is_ok();
        self.masters.iter().position(owned).expect("a master has every slot")
    }

    /// Begins to move the slot of this key: who asks its old owner for what is not there is sent to the new one.
    pub fn begin_to_move(&self, key: &str, to: usize) -> Move<'_> {
        let from = &self.masters[self.owner_of(key)];
        let to = &self.masters[to];
        let slot = from.command(&format!("CLUSTER KEYSLOT {key}")).trim().to_owned();
        to.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from)));
        from.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to)));
        Move { cluster: self, from, to, slot }
    }
}

/// A slot on its way.
#[derive(Debug)]
pub struct Move<'a> {
    cluster: &'a RedisCluster,
    from: &'a RedisServer,
    to: &'a RedisServer,
    slot: String,
}

impl Move<'_> {
    /// Moves the slot's keys.
    ///
    /// # Panics
    /// A key stays where it is.
    pub fn move_keys(&self) {
        let port = self.to.address().port();
        until("the slot's keys have moved", || {
            let keys = self.from.command(&format!("CLUSTER GETKEYSINSLOT {} 100", self.slot));
            for key in keys.lines() {
                self.from.command(&format!("MIGRATE 127.0.0.1 {port} {key} 0 5000"));
            }
            keys.is_empty()
        });
    }

    /// Tells all nodes that the slot has moved.
    pub fn finish(self) {
        let owner = id(self.to);
        for node in [self.to, self.from].into_iter().chain(&self.cluster.masters) {
            node.command(&format!("CLUSTER SETSLOT {} NODE {owner}", self.slot));
        }
    }
}

/// A node's name in the Cluster.
fn id(node: &RedisServer) -> String {
    node.command("CLUSTER MYID").trim().to_owned()
}
