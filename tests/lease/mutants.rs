//! The scripts themselves with one rule taken out: each time, a short history shows it on a real server.

use redis::{Connection, Script, Value};

use crate::server::RedisServer;

const FILES: [(&str, &str); 10] = [
    ("rebuild", include_str!("../../lua/rebuild.lua")),
    ("announce", include_str!("../../lua/announce.lua")),
    ("register", include_str!("../../lua/register.lua")),
    ("lease", include_str!("../../lua/lease.lua")),
    ("hand_back", include_str!("../../lua/hand_back.lua")),
    ("settle", include_str!("../../lua/settle.lua")),
    ("return", include_str!("../../lua/return.lua")),
    ("reclaim", include_str!("../../lua/reclaim.lua")),
    ("resize", include_str!("../../lua/resize.lua")),
    ("forget", include_str!("../../lua/forget.lua")),
];
const BOOK: &str = include_str!("../../lua/book.lua");
const SNAPSHOT: &str = include_str!("../../lua/snapshot.lua");

/// One rule, broken.
struct Mutant {
    name: &'static str,
    line: &'static str,
    instead: &'static str,
    /// What follows [`START`]: a script and its arguments, the identity of the server put in where it belongs; or a
    /// field that is set.
    history: &'static [&'static str],
    /// The last answer of the sound scripts: verdict, and units available.
    sound: (&'static str, i64),
}

/// Node 1 in its first life, 10 units, 5 of them lent to it.
const START: [&str; 3] = ["rebuild 1 10 1 0 1 1 1", "announce 1 1 1 0 0", "lease 1 1 1 0 1 1 5 0"];

const MUTANTS: [Mutant; 21] = [
    Mutant {
        name: "counters are merged by adding",
        line: "  if value > number(field) then\n    put(field, value)\n  end",
        instead: "  put(field, number(field) + value)",
        history: &["hand_back 1 1 1 2", "hand_back 1 1 1 2"],
        sound: ("ok", 7),
    },
    Mutant {
        name: "a former life is believed",
        line: "if incarnation < number('i:' .. node) then return 'old-incarnation' end",
        instead: "",
        history: &["register 1 2 1", "hand_back 1 1 1 3"],
        sound: ("old-incarnation", 5),
    },
    Mutant {
        name: "a former epoch is believed",
        line: "if epoch < number('epoch') then return 'old-epoch' end",
        instead: "",
        history: &["rebuild 2 10 1 0 1 1 1", "announce 1 1 2 5 0", "hand_back 1 1 1 5"],
        sound: ("old-epoch", 5),
    },
    Mutant {
        name: "what the node has seen is ignored",
        line: "if granted == seen then",
        instead: "if true then",
        history: &["lease 1 1 1 0 1 1 5 0"],
        sound: ("ok", 5),
    },
    Mutant {
        name: "a server that lost data passes for a sound one",
        line: "return book.run ~= run or book.repl ~= repl",
        instead: "return false",
        history: &["set run another", "lease 1 1 1 5 1 1 5 0"],
        sound: ("lost", 5),
    },
    Mutant {
        name: "a new book lends before all have spoken",
        line: "if sums().awaited > 0 then",
        instead: "if false then",
        history: &["rebuild 2 10 1 0 1 1 1 2 1", "announce 1 1 2 5 0", "lease 1 1 2 5 1 1 5 0"],
        sound: ("rebuilding", 5),
    },
    Mutant {
        name: "more is handed back than was lent",
        line: "if handed_back > number('g:' .. node) - number('s:' .. node) then",
        instead: "if false then",
        history: &["settle 1 1 1 4", "hand_back 1 1 1 2"],
        sound: ("lost", 5),
    },
    Mutant {
        name: "more is lent than is available",
        line: "tonumber(ARGV[7]), left)",
        instead: "tonumber(ARGV[7]))",
        history: &["lease 1 1 1 5 1 8 8 1"],
        sound: ("ok", 0),
    },
    Mutant {
        name: "who asks ahead of need takes what others starve for",
        line: "    chunk = math.min(chunk, math.max(left - sums().starving * tonumber(ARGV[6]), 0))",
        instead: "",
        history: &[
            "register 2 1 1",
            "lease 2 1 1 0 1 1 5 1",
            "register 3 1 1",
            "lease 3 1 1 0 1 1 1 1",
            "hand_back 1 1 1 1",
            "lease 1 1 1 5 1 1 5 0",
        ],
        sound: ("ok", 1),
    },
    Mutant {
        name: "an older total replaces a newer one",
        line: "if status == 'ok' and revision > number('revision') then",
        instead: "if status == 'ok' then",
        history: &["resize 1 1 1 20 3", "resize 1 1 1 10 2"],
        sound: ("ok", 15),
    },
    Mutant {
        name: "a reclaim does not end the life in the book",
        line: "raise('i:' .. node, incarnation)\nraise('s:' .. node, durable)",
        instead: "raise('s:' .. node, durable)",
        history: &["reclaim 1 2 1 1", "lease 1 1 1 5 1 1 5 0"],
        sound: ("old-incarnation", 9),
    },
    Mutant {
        name: "a late rebuild opens the same epoch twice",
        line: "if not lost() and epoch <= number('epoch') then",
        instead: "if false then",
        history: &["rebuild 1 10 1 0 1 1 1"],
        sound: ("old-epoch", 5),
    },
    Mutant {
        name: "a node announces twice in an epoch",
        line: "if status == 'awaited' then\n  put('i:' .. node, incarnation)",
        instead: "if status == 'awaited' or status == 'ok' then\n  put('i:' .. node, incarnation)",
        history: &["announce 1 1 1 0 0"],
        sound: ("ok", 5),
    },
    Mutant {
        name: "a new book knows no incarnation",
        line: "  put('i:' .. ARGV[at], tonumber(ARGV[at + 1]))\n",
        instead: "",
        history: &["rebuild 2 10 1 0 1 1 2", "announce 1 1 2 5 0"],
        sound: ("old-incarnation", 10),
    },
    Mutant {
        name: "a book that must wait waits for nobody",
        line: "if ARGV[7] == '1' then",
        instead: "if false then",
        history: &["rebuild 2 10 1 0 1 1 1 2 1", "announce 1 1 2 5 0", "lease 1 1 2 5 1 1 5 0"],
        sound: ("rebuilding", 5),
    },
    Mutant {
        name: "the first book waits",
        line: "if ARGV[7] == '1' then",
        instead: "if true then",
        history: &["rebuild 2 10 1 0 0 1 1 2 1", "lease 1 1 2 0 1 1 5 0"],
        sound: ("ok", 5),
    },
    Mutant {
        name: "what is written is not in the sums",
        line: "if kept then count(field, value, 1) end",
        instead: "",
        history: &["lease 1 1 1 5 1 1 5 0"],
        sound: ("ok", 0),
    },
    Mutant {
        name: "what was written over stays in the sums",
        line: "if kept and book[field] then count(field, book[field], -1) end",
        instead: "",
        history: &["lease 1 1 1 5 1 1 5 0"],
        sound: ("ok", 0),
    },
    Mutant {
        name: "what is dropped stays in the sums",
        line: "if kept then count(field, book[field], -1) end\n    book[field] = nil",
        instead: "book[field] = nil",
        history: &["set d:1 9000000000000000", "lease 1 1 1 5 1 1 5 0"],
        sound: ("ok", 0),
    },
    Mutant {
        name: "the book of a later sale of that name is forgotten",
        line: "if number('epoch') > tonumber(ARGV[1]) then",
        instead: "if false then",
        history: &["rebuild 3 10 1 0 0 1 1", "forget 1"],
        sound: ("old-epoch", 10),
    },
    Mutant {
        name: "the book of a sale that has ended stays",
        line: "redis.call('DEL', KEYS[1])\nbook = {}\nreturn",
        instead: "return",
        history: &["forget 1"],
        sound: ("ok", 0),
    },
];

/// A script's text as the engine loads it, perhaps broken.
fn text(script: &str, mutant: Option<&Mutant>) -> String {
    let whole = format!("{BOOK}{script}");
    mutant.map_or_else(|| whole.clone(), |mutant| whole.replace(mutant.line, mutant.instead))
}

/// Plays a history on a book of its own. Returns the last answer without the identity of the server.
fn play(server: &mut Connection, book: &str, history: &[&str], mutant: Option<&Mutant>) -> Vec<Value> {
    let mut last = Vec::new();
    for call in history {
        let mut words: Vec<String> = call.split(' ').map(str::to_owned).collect();
        let name = words.remove(0);
        if name == "set" {
            redis::cmd("HSET").arg(book).arg(words).exec(server).unwrap();
            continue;
        }
        if name == "rebuild" {
            let seen: Vec<Value> = Script::new(&text(SNAPSHOT, None)).key(book).invoke(server).unwrap();
            let server = seen[1..3].iter().map(|id| redis::from_redis_value::<String>(id.clone()).unwrap());
            words.splice(1..1, server);
        }
        let file = FILES.iter().find(|(known, _)| *known == name).expect("a script").1;
        last = Script::new(&text(file, mutant)).key(book).arg(words).invoke(server).unwrap();
        last.drain(1..3);
    }
    last
}

#[test]
fn every_rule_that_is_taken_out_of_the_scripts_shows() {
    let server = RedisServer::start();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    for (number, mutant) in MUTANTS.iter().enumerate() {
        let is_there = FILES.iter().any(|(_, file)| text(file, None).contains(mutant.line));
        assert!(is_there, "{}: the scripts have no such line any more", mutant.name);
        let history = [&START[..], mutant.history].concat();
        let sound = play(&mut connection, &format!("sound-{number}"), &history, None);
        let told = (
            redis::from_redis_value::<String>(sound[0].clone()).unwrap(),
            redis::from_redis_value::<i64>(sound[6].clone()).unwrap(),
        );
        assert_eq!((told.0.as_str(), told.1), mutant.sound, "{}", mutant.name);
        let broken = play(&mut connection, &format!("broken-{number}"), &history, Some(mutant));
        assert_ne!(sound, broken, "{} and nobody notices", mutant.name);
        println!("{}: {:?} instead of {:?}", mutant.name, &broken[..7], &sound[..7]);
    }
}
