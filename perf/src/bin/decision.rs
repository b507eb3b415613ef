//! The purchase decision in process: nanoseconds a decision, and the 99th percentile.
//!
//! Time is an argument of the decision, so reading a clock is not part of the figures. Decisions are timed in batches
//! of `--batch`; the percentile is over the batches' means. `single_p99` times every decision on its own and includes
//! one reading of the clock (`clock` shows what that alone costs).

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use clap::Parser;
use perf::figures::{median, percentile, print};
use perf::harness::{Bench, BuyerText, moment, one_unit};
use seckill::admission::{Accepted, Moment};
use seckill::domain::{BuyerName, Rate, Refusal, Rejection};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Buyers who already hold an order when refusals are measured: the claims are not an empty map.
const BUYERS_STANDING: u64 = 100_000;
/// Names in turn, enough that the same bucket or claim is not hit twice in a row.
const NAMES: u64 = 4_096;

#[derive(Parser)]
struct Args {
    /// Decisions a thread and round.
    #[arg(long, default_value_t = 400_000)]
    decisions: u64,
    /// Decisions timed together.
    #[arg(long, default_value_t = 64)]
    batch: u64,
    /// Rounds; the medians are printed.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only the case of this name.
    #[arg(long)]
    only: Option<String>,
}

/// A case: how to set up the bench, which buyers ask, and the answer that each decision must have.
struct Case {
    name: &'static str,
    setup: fn(u64) -> Bench,
    /// The first buyer, and whether each asks once.
    first_buyer: u64,
    asks_once: bool,
    expected: fn(&Result<Accepted, Refusal>) -> bool,
}

fn crowd(stock_left: u32, rate: Option<Rate>, buyer_rate: Option<Rate>) -> Bench {
    let bench = Bench::new(BUYERS_STANDING as u32 + stock_left, 2, None, None);
    let start = Instant::now();
    let mut buyer = BuyerText::default();
    for number in 0..BUYERS_STANDING {
        let bought = bench.admission.purchase(&bench.sale, &one_unit(buyer.set(number)), 0, moment(start));
        assert!(bought.is_ok(), "a buyer of the crowd was refused");
    }
    bench.settle_all();
    // The limits under test come now, so that they have not refused the crowd.
    let mut throttled = Bench::new(1, 2, rate, buyer_rate);
    let mut sale = (*throttled.sale).clone();
    sale.state = bench.sale.state.clone();
    throttled.admission.board().publish(sale);
    throttled.sale =
        throttled.admission.board().sales().by_id(bench.sale.id).cloned().expect("it was just published");
    throttled
}

/// One token, and the next one a second later: all decisions are made at one moment.
const ONE_TOKEN: Rate = Rate { per_s: 1, burst: 1 };
/// A buyer who is in no case.
const STRANGER: u64 = 900_000_000;

const CASES: [Case; 5] = [
    Case {
        name: "sold_out",
        setup: |_| crowd(0, None, None),
        first_buyer: BUYERS_STANDING,
        asks_once: false,
        expected: |answer| matches!(answer, Err(Refusal { rejection: Rejection::SoldOut, .. })),
    },
    Case {
        name: "throttled_by_sale",
        setup: |_| {
            let bench = crowd(10, Some(ONE_TOKEN), None);
            use_up(&bench, STRANGER);
            bench
        },
        first_buyer: BUYERS_STANDING,
        asks_once: false,
        expected: |answer| matches!(answer, Err(Refusal { rejection: Rejection::RateLimited { .. }, .. })),
    },
    Case {
        name: "throttled_by_buyer",
        setup: |_| {
            let bench = crowd(10, Some(ONE_TOKEN), Some(ONE_TOKEN));
            // The stranger has the sale's token; the buyers lose their own on the way to hear so.
            use_up(&bench, STRANGER);
            for number in BUYERS_STANDING..BUYERS_STANDING + 2 * NAMES {
                use_up(&bench, number);
            }
            bench
        },
        first_buyer: BUYERS_STANDING,
        asks_once: false,
        expected: |answer| matches!(answer, Err(Refusal { rejection: Rejection::RateLimited { .. }, .. })),
    },
    Case {
        name: "repeat_click",
        setup: |_| crowd(10, None, None),
        first_buyer: 0,
        asks_once: false,
        expected: |answer| {
            matches!(answer, Err(Refusal { rejection: Rejection::AlreadyPurchased { .. }, .. }))
        },
    },
    Case {
        name: "win",
        setup: |wins| Bench::new(wins as u32, 2, None, None),
        first_buyer: 0,
        asks_once: true,
        expected: |answer| matches!(answer, Ok(Accepted::Placed(_))),
    },
];

/// Takes the only token: a click that uses a rate up.
fn use_up(bench: &Bench, number: u64) {
    let mut buyer = BuyerText::default();
    let now = moment(Instant::now());
    drop(bench.admission.purchase(&bench.sale, &one_unit(buyer.set(number)), 0, now));
}

struct Round {
    mean_ns: f64,
    p99_ns: f64,
    single_p99_ns: f64,
}

fn main() {
    let args = Args::parse();
    print("clock", clock_ns(), "ns");
    for case in CASES.iter().filter(|case| args.only.as_deref().is_none_or(|only| only == case.name)) {
        for threads in [1, 2] {
            let rounds: Vec<Round> = (0..args.rounds).map(|_| round(case, threads, &args)).collect();
            let of = |figure: fn(&Round) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
            let mean_ns = of(|round| round.mean_ns);
            let name = format!("{}.{threads}_threads", case.name);
            print(format!("{name}.mean"), mean_ns, "ns");
            print(format!("{name}.p99"), of(|round| round.p99_ns), "ns");
            print(format!("{name}.single_p99"), of(|round| round.single_p99_ns), "ns");
            print(format!("{name}.rate"), threads as f64 * 1e3 / mean_ns, "M/s");
        }
    }
}

/// One reading of the clock.
fn clock_ns() -> f64 {
    let start = Instant::now();
    let readings = 1_000_000;
    for _ in 0..readings {
        black_box(Instant::now());
    }
    start.elapsed().as_nanos() as f64 / f64::from(readings)
}

/// Half of the decisions timed in batches, then half one by one, on each thread at the same time.
fn round(case: &Case, threads: usize, args: &Args) -> Round {
    let bench = (case.setup)(args.decisions * threads as u64);
    let at_once = Barrier::new(threads);
    let samples: Vec<(Vec<f64>, Vec<f64>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|home| {
                let (bench, at_once) = (&bench, &at_once);
                scope.spawn(move || worker(case, bench, home, at_once, args))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    bench.settle_all();
    let (batched, single): (Vec<_>, Vec<_>) = samples.into_iter().unzip();
    let (batched, single) = (batched.concat(), single.concat());
    Round {
        mean_ns: batched.iter().sum::<f64>() / batched.len() as f64,
        p99_ns: percentile(&batched, 0.99),
        single_p99_ns: percentile(&single, 0.99),
    }
}

fn worker(case: &Case, bench: &Bench, home: usize, at_once: &Barrier, args: &Args) -> (Vec<f64>, Vec<f64>) {
    let names: u64 = if case.asks_once { args.decisions } else { NAMES };
    let first = case.first_buyer + home as u64 * names;
    let names: Vec<String> = (first..first + names).map(|n| format!("buyer-{n:09}")).collect();
    let mut names = names.iter().cycle().map(|name| BuyerName::new(name).expect("the name keeps its rule"));
    let now = moment(Instant::now());
    let half = args.decisions / 2;
    let mut batched = Vec::with_capacity((half / args.batch) as usize);
    let mut single = Vec::with_capacity(half as usize);

    at_once.wait();
    for _ in 0..half / args.batch {
        let started = Instant::now();
        for _ in 0..args.batch {
            decide(case, bench, home, now, names.next().expect("the names go round"));
        }
        batched.push(started.elapsed().as_nanos() as f64 / args.batch as f64);
    }
    at_once.wait();
    for _ in 0..half {
        let name = names.next().expect("the names go round");
        let started = Instant::now();
        decide(case, bench, home, now, name);
        single.push(started.elapsed().as_nanos() as f64);
    }
    (batched, single)
}

#[inline]
fn decide(case: &Case, bench: &Bench, home: usize, now: Moment, buyer: BuyerName<'_>) {
    let answer = bench.admission.purchase(black_box(&bench.sale), &one_unit(buyer), home, now);
    assert!((case.expected)(&answer), "{}: {answer:?}", case.name);
}
