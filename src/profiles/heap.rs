//! What the allocator holds. No profile by stacks: DECISIONS.md says why there is none.

use mimalloc::MiMalloc;
use serde_json::Value;

/// The statistics of the process's allocator, as it tells them: what it has reserved and committed, pages, threads. They
/// are kept in any case and cost nothing more. Allocates.
///
/// # Errors
/// It does not tell, or not in JSON.
pub fn allocator_statistics() -> Result<Value, String> {
    let text = MiMalloc::stats_json().map_err(str::to_owned)?;
    serde_json::from_slice(text.to_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_tells_an_object() {
        assert!(allocator_statistics().unwrap().is_object());
    }
}
