//! Header blocks of requests. What requests say again and again the server's table gets once, on each connection, and
//! nothing else: so nothing is ever driven out of it.

use http::{HeaderName, HeaderValue};
use http2_wire::block::{
    ENTRY_BYTES, TABLE_BYTES, TABLE_OF_NOTHING, write_field, write_kept, write_known, write_numbered,
};
use http2_wire::fields::{CONTENT_LENGTH, METHOD_GET, PATH, SCHEME_HTTP, number_of};

/// What all requests to one server say.
#[derive(Debug)]
pub struct Common {
    is_tls: bool,
    authority: String,
    /// In which field a buyer says who he is, and its number, if everybody knows that.
    identity: String,
    identity_number: Option<usize>,
    fields: Vec<Field>,
}

/// A field of all requests.
#[derive(Debug)]
struct Field {
    name: HeaderName,
    value: HeaderValue,
    /// What a request may say itself, and then in place of this.
    yields_to: Option<Own>,
}

#[derive(Clone, Copy, Debug)]
enum Own {
    Key,
    Pass,
    Body,
}

impl Common {
    /// For a server that is called `authority`, whose buyers say who they are in `identity`.
    pub fn new(
        is_tls: bool,
        authority: &str,
        identity: &str,
        fields: Vec<(HeaderName, HeaderValue)>,
    ) -> Self {
        let identity = identity.to_ascii_lowercase();
        let fields = fields.into_iter().filter(|(name, _)| *name != *identity);
        let field = |(name, value): (HeaderName, HeaderValue)| {
            let yields_to = match name.as_str() {
                "idempotency-key" => Some(Own::Key),
                "x-sale-pass" => Some(Own::Pass),
                "content-type" | "content-length" => Some(Own::Body),
                _ => None,
            };
            Field { name, value, yields_to }
        };
        Self {
            is_tls,
            authority: authority.to_owned(),
            identity_number: number_of(&identity).map(usize::from),
            fields: fields.map(field).collect(),
            identity,
        }
    }
}

/// What one request says beside that. Kept until it has been answered, since a server may not take it.
#[derive(Debug, Default)]
pub struct Asked {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// Who asks.
    pub identity: Vec<u8>,
    /// The `Idempotency-Key`; none if empty.
    pub key: Vec<u8>,
    /// The `X-Sale-Pass`; none if empty.
    pub pass: Vec<u8>,
    /// The body, in JSON.
    pub body: Vec<u8>,
}

impl Asked {
    /// Forgets what it says, but for the memory.
    pub fn clear(&mut self) {
        self.path.clear();
        for part in [&mut self.identity, &mut self.key, &mut self.pass, &mut self.body] {
            part.clear();
        }
    }

    fn has(&self, own: Own) -> bool {
        let part = match own {
            Own::Key => &self.key,
            Own::Pass => &self.pass,
            Own::Body => &self.body,
        };
        !part.is_empty()
    }
}

/// Places of what may be in the server's table; those of [`Common`]'s fields are behind.
mod place {
    pub const AUTHORITY: usize = 0;
    pub const IDENTITY: usize = 1;
    pub const KEY: usize = 2;
    pub const PASS: usize = 3;
    pub const TYPE: usize = 4;
    pub const FIELDS: usize = 5;
}

/// Fields that everybody knows by number; those of the table are behind.
const KNOWN: usize = http2_wire::fields::FIELDS.len();

/// One connection's writer of header blocks.
#[derive(Debug)]
pub struct Encoder {
    /// For each place the how manieth it was that the table got; 0 if it has not.
    places: Vec<usize>,
    /// How many the table got.
    kept: usize,
    /// What they count.
    bytes: usize,
    /// The server's table is smaller than everybody's: it gets nothing.
    is_off: bool,
    /// It has to be told that.
    owes_notice: bool,
}

impl Encoder {
    /// For requests of this kind.
    pub fn new(common: &Common) -> Self {
        let places = vec![0; place::FIELDS + common.fields.len()];
        Self { places, kept: 0, bytes: 0, is_off: false, owes_notice: false }
    }

    /// Notes what the server allows its table.
    pub fn set_table_bytes_max(&mut self, bytes: u32) {
        if (bytes as usize) < TABLE_BYTES && !self.is_off {
            (self.is_off, self.owes_notice) = (true, true);
            self.places.fill(0);
        }
    }

    /// Writes a request's block.
    pub fn write(&mut self, common: &Common, asked: &Asked, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.owes_notice) {
            out.push(TABLE_OF_NOTHING);
        }
        match asked.method {
            "GET" => write_known(out, METHOD_GET),
            "POST" => write_known(out, METHOD_GET + 1),
            method => write_numbered(out, METHOD_GET, method.as_bytes()),
        }
        write_known(out, SCHEME_HTTP + usize::from(common.is_tls));
        self.write_same(place::AUTHORITY, ":authority", common.authority.as_bytes(), out);
        write_numbered(out, PATH, asked.path.as_bytes());
        for (number, field) in common.fields.iter().enumerate() {
            if !field.yields_to.is_some_and(|own| asked.has(own)) {
                let (name, value) = (field.name.as_str(), field.value.as_bytes());
                self.write_same(place::FIELDS + number, name, value, out);
            }
        }
        match common.identity_number {
            Some(number) => write_numbered(out, number, &asked.identity),
            None => self.write_other(place::IDENTITY, &common.identity, &asked.identity, out),
        }
        if !asked.key.is_empty() {
            self.write_other(place::KEY, "idempotency-key", &asked.key, out);
        }
        if !asked.pass.is_empty() {
            self.write_other(place::PASS, "x-sale-pass", &asked.pass, out);
        }
        if !asked.body.is_empty() {
            self.write_same(place::TYPE, "content-type", b"application/json", out);
            let mut digits = itoa::Buffer::new();
            write_numbered(out, CONTENT_LENGTH, digits.format(asked.body.len()).as_bytes());
        }
    }

    /// A field that has the same value in all requests that have it.
    fn write_same(&mut self, place: usize, name: &str, value: &[u8], out: &mut Vec<u8>) {
        match self.number(place) {
            Some(number) => write_known(out, number),
            None => self.write_new(place, name, value, out),
        }
    }

    /// A field whose name alone is the same.
    fn write_other(&mut self, place: usize, name: &str, value: &[u8], out: &mut Vec<u8>) {
        match self.number(place) {
            Some(number) => write_numbered(out, number, value),
            None => self.write_new(place, name, value, out),
        }
    }

    /// The number by which the server knows a field: the newest has the lowest.
    fn number(&self, place: usize) -> Option<usize> {
        let nth = self.places[place];
        (nth > 0).then(|| KNOWN + 1 + self.kept - nth)
    }

    /// A field that the table does not have yet, and gets if it has room.
    fn write_new(&mut self, place: usize, name: &str, value: &[u8], out: &mut Vec<u8>) {
        let bytes = self.bytes + name.len() + value.len() + ENTRY_BYTES;
        if self.is_off || bytes > TABLE_BYTES {
            return write_field(out, name, value);
        }
        write_kept(out, name, value);
        self.bytes = bytes;
        self.kept += 1;
        self.places[place] = self.kept;
    }
}

#[cfg(test)]
mod tests {
    use http2_wire::block::{Name, Part};
    use http2_wire::fields::FIELDS;

    use super::*;

    /// The fields of a block, and how each stands there, for a reader that has this table.
    fn read(table: &mut Vec<(String, String)>, mut block: &[u8]) -> Vec<(char, String)> {
        let mut told = Vec::new();
        let known = |table: &[(String, String)], number: usize| match FIELDS.get(number - 1) {
            Some((name, value)) => ((*name).to_owned(), (*value).to_owned()),
            None => table[number - KNOWN - 1].clone(),
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        while !block.is_empty() {
            let (how, (name, value)) = match Part::take(&mut block).unwrap() {
                Part::TableBytes(bytes) => {
                    assert_eq!(bytes, 0);
                    table.clear();
                    continue;
                }
                Part::Field(number) => ('#', known(table, number)),
                Part::Literal { name, value, is_kept } => {
                    let name = match name {
                        Name::Number(number) => known(table, number).0,
                        Name::Text(name) => text(name.plain(&mut Vec::new()).unwrap()),
                    };
                    let field = (name, text(value.plain(&mut Vec::new()).unwrap()));
                    if is_kept {
                        table.insert(0, field.clone());
                    }
                    (if is_kept { '+' } else { '=' }, field)
                }
            };
            told.push((how, format!("{name}: {value}")));
        }
        told
    }

    fn common(identity: &str, fields: &[(&str, &str)]) -> Common {
        let field = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        Common::new(false, "shop:80", identity, fields.iter().map(field).collect())
    }

    fn purchase(buyer: &str, key: &str, body: &str) -> Asked {
        Asked {
            method: "POST",
            path: "/seckill/c/unit".into(),
            identity: buyer.into(),
            key: key.into(),
            body: body.into(),
            ..Asked::default()
        }
    }

    fn expect(told: Vec<(char, String)>, expected: &[&str]) {
        let told: Vec<_> = told.iter().map(|(how, field)| format!("{how} {field}")).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_said_again_is_spelled_out_once() {
        let common = common("X-User-ID", &[("X-Tenant-ID", "t"), ("X-User-ID", "nobody")]);
        let (mut encoder, mut table) = (Encoder::new(&common), Vec::new());
        let mut block_of = |asked: &Asked| {
            let mut out = Vec::new();
            encoder.write(&common, asked, &mut out);
            read(&mut table, &out)
        };
        expect(
            block_of(&purchase("b1", "", "")),
            &[
                "# :method: POST",
                "# :scheme: http",
                "+ :authority: shop:80",
                "= :path: /seckill/c/unit",
                "+ x-tenant-id: t",
                "+ x-user-id: b1",
            ],
        );
        // With others behind it, each has another number.
        for (buyer, how) in [("b2", '+'), ("b3", '#')] {
            let told = block_of(&purchase(buyer, "visit", "{}"));
            assert!(told.contains(&('#', ":authority: shop:80".into())), "{told:?}");
            assert!(told.contains(&('=', format!("x-user-id: {buyer}"))), "{told:?}");
            assert!(told.contains(&(how, "content-type: application/json".into())), "{told:?}");
            assert!(told.contains(&('=', "content-length: 2".into())), "{told:?}");
        }
        let asked = Asked { method: "DELETE", pass: b"p".into(), ..purchase("b4", "", "") };
        expect(
            block_of(&asked),
            &[
                "= :method: DELETE",
                "# :scheme: http",
                "# :authority: shop:80",
                "= :path: /seckill/c/unit",
                "# x-tenant-id: t",
                "= x-user-id: b4",
                "+ x-sale-pass: p",
            ],
        );
    }

    #[test]
    fn a_request_s_own_fields_stand_in_place_of_those_of_all() {
        let common = common("Authorization", &[("Idempotency-Key", "all"), ("Content-Type", "text/plain")]);
        let mut encoder = Encoder::new(&common);
        let mut fields_of = |asked: &Asked| {
            let mut out = Vec::new();
            encoder.write(&common, asked, &mut out);
            let mut fields = read(&mut Vec::new(), &out);
            fields.drain(..4);
            fields
        };
        expect(
            fields_of(&purchase("Bearer t", "own", "{}")),
            &[
                "= authorization: Bearer t",
                "+ idempotency-key: own",
                "+ content-type: application/json",
                "= content-length: 2",
            ],
        );
        let mut all = Vec::new();
        Encoder::new(&common).write(&common, &purchase("Bearer t", "", ""), &mut all);
        let mut all = read(&mut Vec::new(), &all);
        expect(
            all.split_off(4),
            &["+ idempotency-key: all", "+ content-type: text/plain", "= authorization: Bearer t"],
        );
    }

    #[test]
    fn a_smaller_table_gets_nothing_and_a_full_one_no_more() {
        let long = "v".repeat(5_000);
        let common = common("X-User-ID", &[("X-Long", &long), ("X-Tenant-ID", "t")]);
        let (mut encoder, mut table) = (Encoder::new(&common), Vec::new());
        let mut blocks = Vec::new();
        for bytes in [4_096, 4_096, 100, 4_096] {
            encoder.set_table_bytes_max(bytes);
            let mut out = Vec::new();
            encoder.write(&common, &purchase("b1", "", ""), &mut out);
            blocks.push((out[0], read(&mut table, &out)));
        }
        for (_, block) in &blocks[..2] {
            assert!(block.contains(&('=', format!("x-long: {long}"))));
        }
        assert!(blocks[1].1.contains(&('#', "x-tenant-id: t".into())));
        assert_eq!((blocks[2].0, blocks[3].0), (TABLE_OF_NOTHING, 0x83));
        for (_, block) in &blocks[2..] {
            assert!(block.contains(&('=', "x-tenant-id: t".into())), "{block:?}");
        }
        assert!(table.is_empty());
    }
}
