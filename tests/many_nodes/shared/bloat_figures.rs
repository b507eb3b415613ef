//! What PostgreSQL says of the engine's tables, and the engines of their commits, at one moment.

use testbed::engine::Engine;

use super::fixture::Fixture;

const MIB: f64 = 1_048_576.0;

/// Of each table, since it was made; whoever writes tells the server's figures a second later, or when he leaves.
const TABLES: &str = "SELECT relname, pg_relation_size(relid), pg_indexes_size(relid), pg_total_relation_size(relid), \
                      n_live_tup, n_dead_tup, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del, autovacuum_count, \
                      coalesce(to_char(last_autovacuum, 'HH24:MI:SS'), 'never') \
                      FROM pg_stat_user_tables WHERE schemaname = 'seckill' ORDER BY relname";
const INDEXES: &str = "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes \
                       WHERE schemaname = 'seckill' ORDER BY 2 DESC, 1 LIMIT 10";
const BUCKET: &str = "seckill_commit_duration_seconds_bucket{le=\"";

/// A table: bytes, rows as the server estimates them, and what was done to rows since it was made.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// Of the rows alone.
    pub heap_bytes: u64,
    pub index_bytes: u64,
    /// With indexes, long values and maps of free space.
    pub total_bytes: u64,
    pub live: u64,
    pub dead: u64,
    pub inserted: u64,
    pub updated: u64,
    /// Of these, updates that wrote into no index.
    pub updated_hot: u64,
    pub deleted: u64,
    pub autovacuums: u64,
    /// A time of the day, or "never".
    pub last_autovacuum: String,
}

impl Table {
    /// One line of the answer to [`TABLES`].
    fn read(line: &str) -> Self {
        let cells: Vec<&str> = line.split('|').collect();
        let [name, numbers @ .., last_autovacuum] = &cells[..] else { panic!("{line:?}") };
        let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
        let &[
            heap_bytes,
            index_bytes,
            total_bytes,
            live,
            dead,
            inserted,
            updated,
            updated_hot,
            deleted,
            autovacuums,
        ] = &numbers[..]
        else {
            panic!("{line:?}")
        };
        Self {
            name: (*name).to_owned(),
            heap_bytes,
            index_bytes,
            total_bytes,
            live,
            dead,
            inserted,
            updated,
            updated_hot,
            deleted,
            autovacuums,
            last_autovacuum: (*last_autovacuum).to_owned(),
        }
    }

    /// Versions of rows that were left behind since `before`.
    pub fn left_since(&self, before: &Self) -> u64 {
        self.updated + self.deleted - before.updated - before.deleted
    }

    /// The share of updates that wrote into no index, in percent; of those since `before`.
    fn hot_since(&self, before: Option<&Self>) -> String {
        let (updated, hot) = before.map_or((0, 0), |before| (before.updated, before.updated_hot));
        let updated = self.updated - updated;
        if updated == 0 {
            return String::new();
        }
        format!("{:.0}", 100.0 * (self.updated_hot - hot) as f64 / updated as f64)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// All tables of the engine's, by name.
pub fn tables(fixture: &Fixture) -> Vec<Table> {
    fixture.query(TABLES).lines().map(Table::read).collect()
}

/// The table of this name.
///
/// # Panics
/// There is none.
pub fn table<'a>(tables: &'a [Table], name: &str) -> &'a Table {
    tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("no table {name}"))
}

/// One moment.
pub struct Sample {
    pub tables: Vec<Table>,
    share_rows: u64,
    /// How many commits of all engines took at most so many seconds, the shortest first.
    commits: Vec<(f64, u64)>,
}

impl Sample {
    /// Now.
    pub fn take(fixture: &Fixture, engines: &[&Engine]) -> Self {
        let share_rows = fixture.query("SELECT count(*) FROM seckill.shares").parse().expect("a number");
        let mut commits: Vec<(f64, u64)> = Vec::new();
        for engine in engines {
            let page = engine.admin("GET", "/metrics", "").body;
            let buckets = page.lines().filter_map(|line| line.strip_prefix(BUCKET)?.split_once("\"} "));
            for (place, (bound, below)) in buckets.enumerate() {
                let below: u64 = below.parse().expect("a number");
                match commits.get_mut(place) {
                    Some((_, all)) => *all += below,
                    None => commits.push((bound.parse().expect("a bound"), below)),
                }
            }
        }
        Self { tables: tables(fixture), share_rows, commits }
    }

    /// At most so many seconds 99 of 100 commits have taken since `before`; the histogram knows bounds only.
    fn commit_p99_s(&self, before: &Self) -> f64 {
        let since = |place: usize| self.commits[place].1 - before.commits[place].1;
        let all = since(self.commits.len() - 1);
        let place = (0..self.commits.len()).find(|place| since(*place) * 100 >= all * 99);
        self.commits[place.expect("the last one has all")].0
    }

    /// What stands above [`Sample::cells`], and the rule below.
    pub const HEAD: &str = "P99 of a commit, ms, at most | shares: rows | KiB | in place, % | orders: live | dead | MiB | \
                            indexes, MiB | in place, % | autovacuums | buyers: dead | MiB | in place, % | \
                            unplaced_events: dead | KiB |\n\
                            |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

    /// The cells of a minute that began with `before`.
    pub fn cells(&self, before: &Self) -> String {
        let of = |name| (table(&self.tables, name), table(&before.tables, name));
        let [shares, orders, buyers, unplaced] = ["shares", "orders", "buyers", "unplaced_events"].map(of);
        let hot = |(now, before): (&Table, &Table)| now.hot_since(Some(before));
        format!(
            "{:.1} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {} | {} | {:.1} | {} | {} | {}",
            self.commit_p99_s(before) * 1e3,
            self.share_rows,
            shares.0.heap_bytes / 1_024,
            hot(shares),
            orders.0.live,
            orders.0.dead,
            mib(orders.0.heap_bytes),
            mib(orders.0.index_bytes),
            hot(orders),
            orders.0.autovacuums,
            buyers.0.dead,
            mib(buyers.0.heap_bytes),
            hot(buyers),
            unplaced.0.dead,
            unplaced.0.heap_bytes / 1_024,
        )
    }

    /// Every table in which something was done, and the largest indexes, as Markdown.
    pub fn report(&self, fixture: &Fixture) -> String {
        let mut text = String::from(
            "\n| table | MiB | indexes, MiB | in all, MiB | live rows | dead rows | bytes a live row | inserted | updated | in place, % | \
             deleted | autovacuums | last |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
        );
        for table in self.tables.iter().filter(|table| table.inserted > 0) {
            text += &format!(
                "| {} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                table.name,
                mib(table.heap_bytes),
                mib(table.index_bytes),
                mib(table.total_bytes),
                table.live,
                table.dead,
                table.heap_bytes.checked_div(table.live).map_or(String::new(), |bytes| bytes.to_string()),
                table.inserted,
                table.updated,
                table.hot_since(None),
                table.deleted,
                table.autovacuums,
                table.last_autovacuum,
            );
        }
        text += "\n| index | MiB |\n|---|---:|\n";
        for line in fixture.query(INDEXES).lines() {
            let (name, bytes) = line.split_once('|').expect("two columns");
            text += &format!("| {name} | {:.2} |\n", mib(bytes.parse().expect("a number")));
        }
        text
    }
}

/// How many dead rows a table of `live` ones has before autovacuum comes, as the server is set up.
pub fn dead_before_autovacuum(fixture: &Fixture, live: u64) -> u64 {
    let settings = fixture.query(
        "SELECT current_setting('autovacuum_vacuum_threshold'), current_setting('autovacuum_vacuum_scale_factor')",
    );
    let (threshold, scale) = settings.split_once('|').expect("two settings");
    let threshold: u64 = threshold.parse().expect("a number");
    threshold + (scale.parse::<f64>().expect("a number") * live as f64) as u64
}
