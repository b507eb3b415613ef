//! What proxies hand to the engine: whatever it looks at, so that nothing works without them and not behind them.

use std::collections::BTreeSet;

use super::text_of;

/// Fields that the engine looks at and that are the proxy's to say or not to say: what frames a request, who asks, whose it is;
/// cookies, of which the pass travels in a field of its own; and a version of documents that a proxy may keep itself.
const ITS_OWN: [&str; 7] =
    ["host", "transfer-encoding", "cookie", "x-user-id", "x-tenant-id", "x-origin-secret", "if-none-match"];

/// The fields that the engine looks at, in lower case.
fn looked_at() -> BTreeSet<&'static str> {
    let source = include_str!("../../../src/edge/request.rs").split("#[cfg(test)]").next().unwrap();
    let names: BTreeSet<_> =
        source.split("is(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(names.len() > 15 && ITS_OWN.iter().all(|own| names.contains(own)), "{names:?}");
    names
}

#[test]
fn each_proxy_passes_on_what_the_engine_looks_at() {
    for file in ["proxy/nginx.conf", "compose/nginx.conf", "kubernetes/nginx.conf", "proxy/haproxy.cfg"] {
        let text = text_of(file).to_lowercase();
        let kept =
            text.lines().find_map(|line| line.split_once("del-header '^(?!(?:")).map_or("", |(_, kept)| kept);
        let kept: Vec<_> = kept.split(')').next().unwrap_or_default().split('|').collect();
        let is_passed = |name: &&str| {
            let is_set =
                ["proxy_set_header", "set-header"].iter().any(|set| text.contains(&format!("{set} {name} ")));
            is_set || kept.contains(name)
        };
        let missing: Vec<_> =
            looked_at().into_iter().filter(|name| !ITS_OWN.contains(name) && !is_passed(name)).collect();
        assert!(missing.is_empty(), "{file} keeps {missing:?} from the engine");
    }
}
