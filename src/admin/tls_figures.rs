//! The certificates of both planes, for those who look at figures and at health.

use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use crate::telemetry::{Exposition, Kind};

impl ControlPlane {
    /// Why certificates that were written lately are not in use, by plane.
    pub(super) fn certificate_troubles(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let troubles = self.certificates.iter();
        troubles.filter_map(|plane| Some((plane.plane(), json!(*plane.trouble()?))))
    }

    /// How often certificates have changed, and whether those that should be in use are.
    pub(super) fn expose_certificates(&self, page: &mut Exposition) {
        const CHANGES: &str = "seckill_tls_certificate_changes_total";
        page.family(
            CHANGES,
            Kind::Counter,
            "Changes of certificates, keys or authorities while the engine ran.",
        );
        for plane in &self.certificates {
            page.sample(CHANGES, &[("plane", plane.plane())], plane.changes() as f64);
        }
        const UNUSABLE: &str = "seckill_tls_certificate_unusable";
        page.family(
            UNUSABLE,
            Kind::Gauge,
            "1 while the files cannot be used and the certificates before them are.",
        );
        for plane in &self.certificates {
            let is_unusable = u8::from(plane.trouble().is_some());
            page.sample(UNUSABLE, &[("plane", plane.plane())], f64::from(is_unusable));
        }
    }
}
