//! Which names are those of archived sales, in a few bytes each: who asks for one of these is told that it has ended, and who
//! asks for a sale that never was costs no look into the store.

use std::collections::HashSet;

use parking_lot::RwLock;

use crate::domain::SaleKey;

/// Hashes of names. One that is in it is a sale's most likely: the store knows.
#[derive(Debug, Default)]
pub struct ArchivedNames {
    hashes: RwLock<HashSet<u64, ahash::RandomState>>,
    hasher: ahash::RandomState,
}

impl ArchivedNames {
    /// A sale of this name is archived.
    pub fn note(&self, key: &SaleKey) {
        let hash = self.hash(key.tenant(), key.campaign(), key.sku());
        self.hashes.write().insert(hash);
    }

    /// Whether a sale of this name may be archived; `false` when none is.
    pub fn may_have(&self, tenant: &str, campaign: &str, sku: &str) -> bool {
        self.hashes.read().contains(&self.hash(tenant, campaign, sku))
    }

    fn hash(&self, tenant: &str, campaign: &str, sku: &str) -> u64 {
        self.hasher.hash_one((tenant, campaign, sku))
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_by_all_its_parts() {
        let names = ArchivedNames::default();
        names.note(&SaleKey::new("default", "spring", "phone").unwrap());
        assert!(names.may_have("default", "spring", "phone"));
        for (tenant, campaign, sku) in
            [("other", "spring", "phone"), ("default", "springphone", ""), ("default", "phone", "spring")]
        {
            assert!(!names.may_have(tenant, campaign, sku), "{tenant} {campaign} {sku}");
        }
    }
}
