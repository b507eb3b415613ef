//! The rules of the house, held by a machine: who may import whom, how long a file may be, and that the pages name only
//! what there is. They read the sources as text and know nothing of the engine.

mod arrows;
mod commands;
mod image;
mod keys;
mod pages;
mod sources;
mod unbuilt;

use arrows::Arrows;
use sources::{Source, below};

/// Lines a file may have: beyond them it has two jobs.
const LINES_MAX: usize = 500;

/// Lines that pages may have which are read from beginning to end.
const LINES_OF_PAGES_MAX: &[(&str, usize)] = &[("README.md", 220), ("src/ARCHITECTURE.md", 200)];

/// Each room of `src`, and the rooms that its files may name. What is not listed may name everything.
const TABLE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("settings", &["domain"]),
    ("openapi", &["domain", "orders"]),
    ("error_chain", &[]),
    ("supervisor", &["exit"]),
    ("tls", &["domain", "settings"]),
    ("admission", &["domain"]),
    ("clock", &["admission", "domain", "settings"]),
    ("telemetry", &["domain", "settings"]),
    ("traces", &["domain", "error_chain", "settings", "telemetry"]),
    ("profiles", &[]),
    ("orders", &["admission", "clock", "domain", "settings", "tls"]),
    ("ledger", &["admission", "clock", "domain", "orders", "settings"]),
    ("webhooks", &["domain", "error_chain", "orders", "settings"]),
    ("search", &["domain", "error_chain", "orders", "settings"]),
    ("checkout", &["admission", "clock", "domain", "orders", "settings", "telemetry", "traces"]),
    (
        "edge",
        &[
            "admission",
            "checkout",
            "clock",
            "domain",
            "ledger",
            "openapi",
            "orders",
            "settings",
            "supervisor",
            "telemetry",
            "tls",
            "traces",
        ],
    ),
    (
        "grpc",
        &[
            "admin",
            "admission",
            "clock",
            "domain",
            "edge",
            "orders",
            "settings",
            "supervisor",
            "telemetry",
            "tls",
        ],
    ),
    (
        "admin",
        &[
            "admission",
            "checkout",
            "clock",
            "domain",
            "ledger",
            "openapi",
            "orders",
            "profiles",
            "search",
            "settings",
            "telemetry",
            "tls",
            "webhooks",
        ],
    ),
];

/// Rooms within rooms that only the named places may name.
const FOR_FEW: &[(&str, &[&str])] = &[
    ("src/ledger/agent", &["src/app", "src/config"]),
    ("src/ledger/redis", &["src/ledger/agent", "src/app", "src/config"]),
];

/// Places that use the standard library alone, and what they may name of the engine.
const PURE: &[(&str, &[&str])] = &[("src/domain", &[]), ("src/ledger/lease", &["src/domain"])];

/// Packages that only the named places may use, so that what depends on them can be read in one sitting.
const PACKAGES: &[(&str, &[&str])] = &[
    ("rusqlite", &["src/orders/sqlite"]),
    ("tokio_postgres", &["src/orders/postgres"]),
    ("redis", &["src/ledger/redis"]),
    ("axum", &["src/admin"]),
    ("may", &["src/edge"]),
    ("may_minihttp", &["src/edge"]),
    ("figment", &["src/config"]),
    ("http2_wire", &["src/edge/http2"]),
    ("clap", &["src/config", "src/main.rs"]),
    ("clap_complete", &["src/config/cli.rs"]),
    ("prost", &["src/telemetry/protobuf.rs", "src/traces/otlp.rs", "src/profiles/pprof_format.rs"]),
    ("pprof", &["src/profiles"]),
    ("prost_types", &["src/grpc"]),
    ("tonic", &["src/grpc"]),
    ("tonic_health", &["src/grpc"]),
    ("tonic_reflection", &["src/grpc"]),
    ("tonic_types", &["src/grpc"]),
    ("opentelemetry_proto", &["src/traces"]),
    ("sd_notify", &["src/app/service_manager.rs"]),
];

/// What is made in one place only, so that the engine and its tests run the same thing.
const MADE_IN: &[(&str, &str)] = &[
    ("OrderWriter {", "src/orders/pipeline.rs"),
    ("OrderDesk::new(", "src/orders/pipeline.rs"),
    ("const PATIENCE", "testbed/src/lib.rs"),
];

/// Folders with Rust files.
const FOLDERS: &[&str] = &["http2-wire", "src", "tests", "loadtest", "model", "perf", "testbed", "xtask"];

#[test]
fn imports_follow_the_table() {
    let mut wrong = Vec::new();
    for source in below("src") {
        let Some((room, allowed)) = TABLE.iter().find(|(room, _)| *room == source.room()) else { continue };
        for path in arrows::paths(&source.code) {
            let [start, to, ..] = &path[..] else { continue };
            if start == "crate" && to != room && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{}: {room} may not name {}", source.path, path.join("::")));
            }
        }
    }
    assert_none("an import against the table", &wrong);
}

#[test]
fn rooms_within_rooms_are_for_few() {
    let mut wrong = Vec::new();
    for (from, to) in Arrows::of(&below("src")).all() {
        let in_any = |places: &[&str]| places.iter().any(|place| is_in(&from, place));
        let is_shut = |(room, few): &(&str, &[&str])| is_in(&to, room) && !is_in(&from, room) && !in_any(few);
        let is_impure = |(room, known): &(&str, &[&str])| {
            is_in(&from, room) && !is_in(&to, room) && !known.iter().any(|known| is_in(&to, known))
        };
        if FOR_FEW.iter().any(is_shut) || PURE.iter().any(is_impure) {
            wrong.push(format!("{from} may not name {to}"));
        }
    }
    assert_none("an import into a room that is for few, or out of a pure one", &wrong);
}

#[test]
fn pure_places_are_told_the_time() {
    let reads_a_clock =
        |source: &Source| ["::now()", ".elapsed()"].iter().any(|call| source.code.contains(call));
    let pure = |source: &Source| PURE.iter().any(|(place, _)| is_in(&source.path, place));
    let wrong = below("src").into_iter().filter(|source| pure(source) && reads_a_clock(source));
    assert_none(
        "a clock that is read where time is an argument",
        &wrong.map(|source| source.path).collect::<Vec<_>>(),
    );
}

#[test]
fn packages_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in below("src") {
        for path in arrows::imports(&source.code) {
            let package = path[0].as_str();
            // A type of the file itself: `use Status::*` inside of a function.
            if package.starts_with(char::is_uppercase) {
                continue;
            }
            let places = PACKAGES.iter().find(|(name, _)| *name == package).map(|(_, places)| *places);
            if places.is_some_and(|places| !places.iter().any(|place| source.path.starts_with(place))) {
                wrong.push(format!("{}: {package} is not for this place", source.path));
            }
            let plain = ["std", "core", "crate", "super", "self"].contains(&package);
            let is_pure = PURE.iter().any(|(place, _)| is_in(&source.path, place));
            if is_pure && !plain && !source.path.ends_with("mod.rs") {
                wrong.push(format!("{}: {package}, where only the standard library is used", source.path));
            }
        }
    }
    assert_none("a package out of its place", &wrong);
}

#[test]
fn files_do_not_import_in_circles() {
    let circles = Arrows::of(&below("src")).circles();
    let circles: Vec<_> = circles.iter().map(|circle| circle.join(" <-> ")).collect();
    assert_none("files that import each other", &circles);
}

#[test]
fn no_file_has_more_lines_than_one_job_needs() {
    let sources = FOLDERS.iter().copied().flat_map(below);
    let long: Vec<_> = sources.filter(|source| source.lines > LINES_MAX).map(|source| source.path).collect();
    assert_none(&format!("a file of more than {LINES_MAX} lines"), &long);
}

#[test]
fn what_manifests_say_has_no_tests_has_none() {
    let mains = ["src/main.rs", "loadtest/src/main.rs"].map(str::to_owned);
    let untested = ["model/src", "perf/src/bin", "testbed/src"].into_iter().flat_map(below);
    let files = untested.map(|source| source.path).chain(mains);
    let tests = files.filter(|file| pages::read(file).contains("test]"));
    let libraries = ["src", "http2-wire/src", "loadtest/src", "model/src", "perf/src", "testbed/src"]
        .into_iter()
        .flat_map(below);
    let fences = |line: &str| ["/// ```", "//! ```"].iter().any(|fence| line.trim_start().starts_with(fence));
    let documents = libraries.filter(|source| pages::read(&source.path).lines().any(fences));
    let found: Vec<_> = tests.chain(documents.map(|source| source.path)).collect();
    assert_none("a test or an example that is never run: its manifest says that there is none", &found);
}

#[test]
fn what_is_made_in_one_place_is_made_nowhere_else() {
    let sources: Vec<_> = FOLDERS.iter().copied().flat_map(below).collect();
    let mut found = Vec::new();
    for (making, place) in MADE_IN {
        let makers = sources.iter().flat_map(|source| vec![&source.path; source.makes(making)]);
        let makers: Vec<_> = makers.collect();
        if makers != [place] {
            found.push(format!("{making} stands in {makers:?}, not once in {place}"));
        }
    }
    assert_none("something that is made in one place only", &found);
}

#[test]
fn no_file_is_compiled_into_two_places() {
    let sources = FOLDERS.iter().copied().flat_map(below);
    let shared: Vec<_> =
        sources.filter(|source| source.makes("#[path") > 0).map(|source| source.path).collect();
    assert_none("a file that is compiled twice: what tests share is in testbed", &shared);
}

#[test]
fn what_the_architecture_names_exists() {
    let sources: Vec<Source> = ["src", "tests", "testbed", "xtask"].into_iter().flat_map(below).collect();
    let missing = pages::names_that_do_not_exist("src/ARCHITECTURE.md", &sources);
    assert_none("a name in src/ARCHITECTURE.md that is not in the project", &missing);
}

#[test]
fn every_thread_stands_on_the_page() {
    let page = pages::read("src/ARCHITECTURE.md");
    let sources = below("src");
    let names = sources.iter().flat_map(pages::thread_names);
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}"))).collect();
    assert_none("a thread that src/ARCHITECTURE.md does not name", &missing);
}

#[test]
fn every_link_leads_somewhere() {
    let broken: Vec<_> = pages::all().iter().flat_map(|page| pages::broken_links(page)).collect();
    assert_none("a link to what is not there", &broken);
}

#[test]
fn every_command_and_flag_that_a_page_gives_exists() {
    let mut missing = Vec::new();
    for page in pages::of_today() {
        for (program, call) in commands::calls(&pages::read(&page)) {
            let unknown = commands::unknown(program, &call);
            missing.extend(unknown.into_iter().map(|word| format!("{page}: {word} in {program} {call}")));
        }
    }
    assert_none("a command or a flag that is not there", &missing);
}

#[test]
fn every_key_that_a_page_names_is_one_of_the_configuration() {
    let keys = keys::Keys::read();
    let missing = pages::of_today().flat_map(|page| {
        let missing = keys.missing(&pages::read(&page));
        missing.into_iter().map(move |key| format!("{page}: {key}"))
    });
    assert_none("a key that is not there", &missing.collect::<Vec<_>>());
}

#[test]
fn every_script_can_be_read_by_its_shell() {
    assert_none("what a shell cannot read", &unbuilt::scripts());
}

#[test]
fn packages_that_are_no_members_can_be_read_by_cargo() {
    assert_none("a manifest", &unbuilt::packages());
}

#[test]
fn pages_that_are_read_whole_stay_short() {
    let lines = LINES_OF_PAGES_MAX.iter().map(|(page, max)| (page, pages::read(page).lines().count(), max));
    let long = lines.filter(|(_, lines, max)| lines > max);
    let long: Vec<_> =
        long.map(|(page, lines, max)| format!("{page}: {lines} lines, at most {max}")).collect();
    assert_none("a page that is too long", &long);
}

#[test]
fn exit_codes_are_those_of_the_pages() {
    for (file, page) in
        [("src/exit.rs", "src/admin/OPERATING.md"), ("loadtest/src/exit.rs", "loadtest/README.md")]
    {
        let (codes, told) = pages::exit_codes(file, page);
        assert!(codes.len() > 5, "{file} has exit codes");
        assert_eq!(codes, told, "the exit codes of {file} and those that {page} tells");
    }
}

#[test]
fn decisions_are_dated_the_newest_first() {
    let page = pages::read("src/DECISIONS.md");
    let dates: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")?.get(..10)).collect();
    assert!(!dates.is_empty() && dates.is_sorted_by(|one, next| one >= next), "{dates:#?}");
    let lines: Vec<_> = page.lines().collect();
    let crowded = lines.windows(2).filter(|pair| pair[1].starts_with("## ") && !pair[0].is_empty());
    let crowded: Vec<_> = crowded.map(|pair| pair[1].to_owned()).collect();
    assert_none("a heading without an empty line before it", &crowded);
}

#[test]
fn the_image_is_built_from_what_cargo_needs() {
    let outcomes = image::builds();
    assert!(outcomes.len() > 1, "the dependencies, then the engine");
    let failed: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_none("a layer of the Dockerfile whose copied files cargo cannot build from", &failed);
}

/// Whether a file or folder is the place, or in it.
fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
}

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// What takes too long for the test command names a shorter test of the same that it runs.
#[test]
fn whatever_is_left_out_of_the_test_command_names_a_test_in_its_place() {
    let texts = below("tests")
        .into_iter()
        .map(|source| std::fs::read_to_string(sources::root().join(source.path)).expect("it was there"));
    let texts: Vec<String> = texts.collect();
    let is_a_test = |word: &str| {
        let name = word.rsplit("::").next().unwrap_or_default();
        name.contains('_') && texts.iter().any(|text| text.contains(&format!("#[test]\nfn {name}() {{")))
    };
    let left_out = texts.iter().flat_map(|text| text.split(concat!("#[", "ignore")).skip(1));
    let reasons = left_out.map(|rest| rest.split("]\n").next().unwrap_or_default());
    let nameless: Vec<_> = reasons
        .filter(|reason| !reason.split([' ', '"', '`', ',']).any(is_a_test))
        .map(str::to_owned)
        .collect();
    assert_none("a test that is left out and names no other", &nameless);
}
