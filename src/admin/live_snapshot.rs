//! A picture of the live feed.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// One second's picture.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Its number, which grows.
    pub seq: u64,
    /// Everything but the sales.
    engine: Map<String, Value>,
    /// Each sale shown, with its tenant.
    sales: Vec<(String, Value)>,
    /// What operators did lately, with the tenant that it is about; `None` where it is about all of them.
    acts: Vec<(Option<String>, Value)>,
    /// The picture for those who see all tenants.
    whole: String,
}

impl Snapshot {
    /// A picture with these sales and acts, each with its tenant.
    pub fn new(
        seq: u64,
        engine: Map<String, Value>,
        sales: Vec<(String, Value)>,
        acts: Vec<(Option<String>, Value)>,
    ) -> Self {
        let mut snapshot = Self { seq, engine, sales, acts, whole: String::new() };
        snapshot.whole = snapshot.to_json().to_string();
        snapshot
    }

    /// The picture as JSON, with that tenant's sales only, and acts on them, if one is named.
    pub fn for_tenant(&self, tenant: Option<&str>) -> Cow<'_, str> {
        match tenant {
            None => Cow::Borrowed(&self.whole),
            Some(tenant) => Cow::Owned(self.json(|of| of == Some(tenant)).to_string()),
        }
    }

    /// The picture for those who see all tenants, as a value.
    pub fn to_json(&self) -> Value {
        self.json(|_| true)
    }

    fn json(&self, is_shown: impl Fn(Option<&str>) -> bool) -> Value {
        let mut all = self.engine.clone();
        let shown =
            self.sales.iter().filter(|(tenant, _)| is_shown(Some(tenant))).map(|(_, sale)| sale.clone());
        all.insert("sales".into(), shown.collect());
        let acts = self.acts.iter().filter(|(tenant, _)| is_shown(tenant.as_deref()));
        all.insert("acts".into(), acts.map(|(_, act)| act.clone()).collect());
        Value::Object(all)
    }
}
