//! The flags that set a key of the configuration.

/// Flags that set a key.
pub(super) const KEY_FLAGS: [(&str, &str); 7] = [
    ("--edge-listen", "edge.listen"),
    ("--admin-listen", "admin.listen"),
    ("--data-dir", "data_dir"),
    ("--database-url", "postgres.url"),
    ("--redis-url", "redis.url"),
    ("--node-id", "node.id"),
    ("--demo", "demo"),
];

/// The flag with this name.
pub(super) fn flag_named(name: &str) -> Option<&'static str> {
    KEY_FLAGS.iter().map(|(flag, _)| *flag).find(|flag| *flag == name)
}
